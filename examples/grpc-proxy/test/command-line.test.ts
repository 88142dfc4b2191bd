import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'grpc-proxy',
  mistakes: [
    [[...listening, '--pa', 'nonsense'], /"nonsense": the port is missing/],
    [[...listening, '--pa', '127.0.0.1:1', '--pa', '127.0.0.1:1'], /listed twice/],
  ],
})
