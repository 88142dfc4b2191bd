import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'websocket-gateway',
  mistakes: [
    [[...listening, '--path', 'up'], /--path must begin with "\/", not "up"/],
    [[...listening, '--idle', 'long'], /--idle must be a number .*, not "long"/],
    [[...listening, '--ws', '127.0.0.1:0'], /port 0 names no peer/],
  ],
})
