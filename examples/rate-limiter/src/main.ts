import { Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { Limiter } from './limiter.ts'
import { type LimiterOptions, parseOptions, USAGE } from './options.ts'

async function serve(options: LimiterOptions): Promise<void> {
  const server = new Server({ argv: options.server })
  // Every thread runs this file, and finds the same memory by its name: the limit is one for all of them.
  const memory = server.shared.buffer('limit', Limiter.byteLength())
  const proxy = httpProxyService(server.configuration, new Limiter(options, memory), {
    name: 'limiter',
    listening: { threads: options.threads },
  })
  proxy.addListener({ address: options.bindAddress })
  server.addService(proxy)
  await server.runForever()
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else await serve(options)
} catch (error) {
  process.stderr.write(`rate-limiter: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
