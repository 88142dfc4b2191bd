import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'health-aware',
  mistakes: [
    [[...listening, '--pa', 'nowhere'], /"nowhere": the port is missing/],
    [[...listening, '--path', 'health'], /path to begin with "\/".*received .health./],
    [[...listening, '--interval', '9'], /--interval must be from 10 to 3600000 ms, not "9"/],
  ],
})
