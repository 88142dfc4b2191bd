import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

testCommandLine({
  folder: 'shared-state',
  argv: ['--admin', '127.0.0.1:0'],
  mistakes: [
    [['--ba', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--threads', '0'], /--threads must be .* not "0"/],
  ],
})
