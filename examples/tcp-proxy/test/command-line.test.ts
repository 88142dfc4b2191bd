import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'tcp-proxy',
  mistakes: [
    [[...listening, '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--send-proxy', '3'], /--send-proxy must be 1 or 2, not "3"/],
  ],
})
