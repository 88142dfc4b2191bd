import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

testCommandLine({
  folder: 'echo-server',
  argv: ['--tcp', '127.0.0.1:0'],
  mistakes: [[['--ba', '127.0.0.1:0', '--tcp', 'nowhere'], /"nowhere": the port is missing/]],
})
