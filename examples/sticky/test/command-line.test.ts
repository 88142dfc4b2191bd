import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'sticky',
  mistakes: [
    [[...listening, '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--pa', '127.0.0.1:1', '--pa', '127.0.0.1:1'], /listed twice/],
  ],
})
