import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'body-routing',
  mistakes: [
    [[...listening, '--route', 'small'], /--route must be VALUE=ADDRESS, not "small"/],
    [[...listening, '--route', '=127.0.0.1:1'], /--route must be VALUE=ADDRESS/],
    [[...listening, '--route', 'a=nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--route', 'a=127.0.0.1:1', '--route', 'a=127.0.0.1:2'], /given twice for "a"/],
  ],
})
