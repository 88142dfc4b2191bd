import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

testCommandLine({
  folder: 'load-balancer',
  mistakes: [
    [['--ba', '127.0.0.1:0', '--upstream', 'nonsense'], /"nonsense": the port is missing/],
    [['--ba', '127.0.0.1:0', '--upstream', '127.0.0.1:1', '--upstream', '127.0.0.1:1'], /listed twice/],
    [['--ba', '127.0.0.1:0', '--switch', 'soon'], /--switch must be a number .*, not "soon"/],
    [['--ba', '127.0.0.1:0', '--switch', '3601'], /--switch must be a number .*, not "3601"/],
  ],
})
