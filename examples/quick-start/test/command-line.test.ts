import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'quick-start',
  mistakes: [
    [[...listening, '--upstream', '127.0.0.1:1'], /--upstream and --host go together/],
    [[...listening, '--host', 'a.example'], /--upstream and --host go together/],
    [[...listening, '--host', 'a.example', '--upstream', 'nonsense'], /"nonsense": the port is missing/],
  ],
})
