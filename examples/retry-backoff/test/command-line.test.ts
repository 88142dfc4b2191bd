import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'retry-backoff',
  mistakes: [
    [[...listening, '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--tries', '0'], /--tries must be an integer from 1 to 100, not "0"/],
    [[...listening, '--tries', '101'], /--tries must be an integer from 1 to 100, not "101"/],
    [[...listening, '--backoff', 'soon'], /--backoff must be an integer .*, not "soon"/],
    [[...listening, '--deadline', ''], /--deadline must be an integer .*, not ""/],
  ],
})
