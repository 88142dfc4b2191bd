import { join } from 'node:path'
import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']
const certs = join(import.meta.dirname, 'data')

testCommandLine({
  folder: 'tls-gateway',
  argv: ['--certs', certs],
  mistakes: [
    [listening, /--certs is missing/],
    [[...listening, '--certs', '/nowhere'], /ENOENT.*\/nowhere/],
    [[...listening, '--certs', certs, '--pa', '127.0.0.1:0'], /port 0 names no peer/],
  ],
})
