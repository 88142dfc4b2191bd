// What a container would run as its first process.
import { supervise } from '../../src/index.ts'

process.exitCode = await supervise({
  script: new URL('upgrade-server.ts', import.meta.url),
  argv: process.argv.slice(2),
})
