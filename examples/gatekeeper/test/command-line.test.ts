import { testCommandLine } from '../../../scripts/test-support/command-line-suite.ts'

const listening = ['--ba', '127.0.0.1:0']

testCommandLine({
  folder: 'gatekeeper',
  argv: ['--pa', '127.0.0.1:1'],
  mistakes: [
    [listening, /--pa is missing/],
    [[...listening, 'stray'], /Unexpected argument 'stray'/],
    [[...listening, '-c'], /-c needs a path/],
    [[...listening, '--pa', '127.0.0.1:1', '-c', '/nowhere.yaml'], /\/nowhere\.yaml/],
    [[...listening, '--pa', '127.0.0.1:0'], /port 0 names no peer/],
    [[...listening, '--pa', '127.0.0.1:1', '--cp', 'api'], /--cp must begin with "\/", not "api"/],
    [[...listening, '--pa', '127.0.0.1:1', '--cert', 'x.pem'], /--cert and --key go together/],
    [
      [...listening, '--pa', '127.0.0.1:1', '--cert', '/no.pem', '--key', '/no.key'],
      /Cannot read "\/no\.pem"/,
    ],
    [[...listening, '--pa', '127.0.0.1:1', '--sni', 'a.example'], /--sni needs --tls/],
  ],
})
