import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'multi-lb',
  mistakes: [
    [[...listening, '--route', 'api=127.0.0.1:1'], /--route must be \/PREFIX=ADDRESS,ADDRESS, not "api=/],
    [[...listening, '--route', '/api='], /--route must be \/PREFIX=ADDRESS,ADDRESS/],
    [[...listening, '--route', '/api=127.0.0.1:1=/b'], /--route must be \/PREFIX=ADDRESS,ADDRESS/],
    [[...listening, '--route', '/api'], /--route must be \/PREFIX=ADDRESS,ADDRESS/],
    [[...listening, '--route', '/api=127.0.0.1:1,nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--route', '/a=127.0.0.1:1', '--route', '/a/=127.0.0.1:2'], /given twice for "\/a\/"/],
  ],
})
