import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

testCommandLine({
  folder: 'modify-response',
  mistakes: [
    [['--ba', '127.0.0.1:0', '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [['--ba', '127.0.0.1:0', '--hide'], /'--hide.*argument missing/],
  ],
})
