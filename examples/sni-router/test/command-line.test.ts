import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'sni-router',
  argv: ['--route', 'a.example=127.0.0.1:1'],
  mistakes: [
    [listening, /--route is missing/],
    [[...listening, '--route', 'a.example'], /--route must be NAME=ADDRESS, not "a\.example"/],
    [[...listening, '--route', 'a.example=nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--route', 'a b=127.0.0.1:1'], /Expected a host name or "\*\." and one, received "a b"/],
  ],
})
