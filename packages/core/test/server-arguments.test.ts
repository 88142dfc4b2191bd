import { expect, test } from 'vitest'
import { parseServerArguments, ServerArgumentsError } from '../src/index.ts'

const NONE = { conf: undefined, daemon: false, doctor: false, test: false, upgrade: false }

test.each([
  [[], NONE],
  [['-c', 'a.yaml'], { ...NONE, conf: 'a.yaml' }],
  [['--conf', 'a.yaml', '-t'], { ...NONE, conf: 'a.yaml', test: true }],
  [['--conf=a=b.yaml'], { ...NONE, conf: 'a=b.yaml' }],
  [['-dtu'], { ...NONE, daemon: true, test: true, upgrade: true }],
  [['-tc', 'x', '--daemon', '--upgrade'], { ...NONE, conf: 'x', daemon: true, test: true, upgrade: true }],
  [['-c', 'x', '-c', 'x'], { ...NONE, conf: 'x' }],
  [['--doctor', '-c', 'x'], { ...NONE, conf: 'x', doctor: true }],
])('parses %j', (argv, options) => {
  expect(parseServerArguments(argv)).toEqual({ options, rest: [] })
})

test.each([
  [['--tset'], 'Unknown flag "--tset"; did you mean "--test"?'],
  [['--zzzzzz'], 'Unknown flag "--zzzzzz". Usage'],
  [['-x'], 'Unknown flag "-x"'],
  [['-ctx'], 'Unknown flag "-ctx"'],
  [['file'], 'Unknown argument "file"'],
  [['-c'], '-c needs a path'],
  [['-c', '-t'], '-c needs a path'],
  [['--conf='], '--conf= needs a path'],
  [['--test=yes'], 'takes no value'],
  [['--doctr'], 'did you mean "--doctor"?'],
  [['-c', 'a', '--conf=b'], 'Two configuration files'],
  [['--constructor'], 'Unknown flag'],
])('refuses %j', (argv, message) => {
  expect(() => parseServerArguments(argv)).toThrow(ServerArgumentsError)
  expect(() => parseServerArguments(argv)).toThrow(message)
})

test('leaves what is not ours to the program that asks for it', () => {
  const argv = ['--ba', '127.0.0.1:80', '-t', '-x', '--', '-d', '--']
  expect(parseServerArguments(argv, { allowUnknown: true })).toEqual({
    options: { ...NONE, test: true },
    rest: ['--ba', '127.0.0.1:80', '-x', '-d', '--'],
  })
})
