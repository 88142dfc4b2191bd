import { ConfigurationError, parseConfiguration } from '@cirque/core'
import fc from 'fast-check'
import { holds, orRefused, same } from '../check.ts'
import type { Target } from '../target.ts'

const key = fc.constantFrom(
  'version',
  'threads',
  'pid_file',
  'grace_period_seconds',
  'upgrade_sock',
  'user',
  'group',
  'app',
  'max_retries',
  'client_bind_to_ipv4',
  'trheads',
  '__proto__',
)
const value = fc.oneof(
  fc.constantFrom(
    '1',
    'true',
    '~',
    '[1, 2]',
    '{a: 1}',
    '&a b',
    '*a',
    '!!str 1',
    '"x"',
    '- 1',
    '10.0.0.1',
    '1e3',
    '.inf',
    '0x1',
  ),
  fc.json(),
)

let warning: string | undefined
process.emitWarning = (text: string | Error) => {
  warning = String(text)
}

/** Configuration files: refused with a reason, or complete; JSON means what JSON.parse says. */
export const target: Target = {
  name: 'configuration',
  seeds: [
    'version: 1\nthreads: 1\npid_file: /run/a.pid\n',
    '{"grace_period_seconds": 5, "app": {"a": [1]}}',
    'client_bind_to_ipv4: [127.0.0.1]\nuser: a\ngroup: b\n',
    'app: &a {b: *a}',
  ],
  words: [
    '\n',
    ': ',
    '- ',
    '&a ',
    '*a',
    '!!map ',
    '<<: ',
    '---\n',
    '%YAML 1.2\n',
    '? ',
    '|\n ',
    'upgrade_sock: ',
  ],
  bytesMax: 512,
  inputs: fc
    .array(fc.tuple(key, value), { maxLength: 5 })
    .map((pairs) => Buffer.from(pairs.map(([name, text]) => `${name}: ${text}\n`).join(''))),
  run(input) {
    const text = input.toString()
    warning = undefined
    const configuration = orRefused(() => checked(text), ConfigurationError)
    same('what is odd is refused, and not a warning of the process', warning, undefined)
    if (configuration === undefined) return
    holds('it is frozen', Object.isFrozen(configuration))
    holds(
      'a number is one',
      Number.isFinite(configuration.gracePeriodSeconds) && Number.isInteger(configuration.maxRetries),
    )
    same('it has every key, and no other', Object.keys(configuration), Object.keys(parseConfiguration('')))
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch {
      return
    }
    const seconds = (json as { grace_period_seconds?: unknown } | null)?.grace_period_seconds
    if (seconds !== undefined) same('JSON means what it says', configuration.gracePeriodSeconds, seconds)
  },
}

function checked(text: string): ReturnType<typeof parseConfiguration> {
  try {
    return parseConfiguration(text)
  } catch (error) {
    if (error instanceof ConfigurationError) {
      holds('a refusal names at least one issue', error.issues.length > 0)
      for (const { line, column, message } of error.issues) {
        holds('an issue has a place', (line ?? 0) >= 1 && (column ?? 0) >= 1)
        holds('an issue says something', message !== '')
      }
    }
    throw error
  }
}
