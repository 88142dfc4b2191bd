import { ConfigurationError, parseConfiguration } from '@cirque/core'
import fc from 'fast-check'
import {
  CONFIGURATION_KEYS,
  REFUSED_KEYS,
} from '../../../packages/core/src/configuration/configuration-keys.ts'
import { holds, orRefused, same } from '../check.ts'
import type { Target } from '../target.ts'

const key = fc.constantFrom(
  ...CONFIGURATION_KEYS.map(({ fileName }) => fileName),
  ...CONFIGURATION_KEYS.map(({ name }) => name),
  ...Object.keys(REFUSED_KEYS),
  'trheads',
  '__proto__',
  'constructor',
  'toString',
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
    const given = Object.entries((json ?? {}) as Record<string, unknown>)
    for (const [fileName, value] of given) {
      const known = CONFIGURATION_KEYS.find((one) => one.fileName === fileName)
      if (known === undefined) throw new Error(`a key that is not known is refused: ${fileName}`)
      if (typeof value !== 'number' && typeof value !== 'boolean') continue
      if (fileName !== 'app') same('JSON means what it says', configuration[known.name], value)
    }
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
