import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'rate-limiter',
  mistakes: [
    [[...listening, '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--limit', '0'], /--limit must be an integer from 1 to 1000000, not "0"/],
    [[...listening, '--threads', '0'], /--threads must be an integer from 1 to 64, not "0"/],
    [[...listening, '--window', '1.5'], /--window must be an integer from 1 to 86400, not "1\.5"/],
  ],
})
