import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONFIGURATION_KEYS } from '../../packages/core/src/configuration-keys.ts'
import { defaultsInCode, limitOptions, numberOf } from '../limits.ts'
import { filesUnder, root } from '../workspace.ts'

const PAGE = readFileSync(join(root, 'docs/user-guide/security.md'), 'utf8')
const options = limitOptions()

/** Their default is made of other options, or told apart by case; the docstring has the rule. */
const MADE_BY_RULE: readonly string[] = [
  'SyslogDestinationOptions.messageBytesMax',
  'GcraOptions.keysMax',
  'OutlierOptions.ejectionMsMax',
  'HttpProxyOptions.maxRetries',
  'HttpProxyOptions.filterTimeoutMs',
  'HealthCheckOptions.timeoutMs',
]

function rowsOf(pattern: RegExp): string[][] {
  return [...PAGE.matchAll(pattern)].map(([, ...cells]) => cells)
}

describe('docs/user-guide/security.md', () => {
  test('has a row for each option that bounds something, with its default, and no other', () => {
    const rows = rowsOf(/^\| `(\w+Options|\w+)\.(\w+)` \| ([^|]+) \| .+ \|$/gm)
    const shown = new Map(rows.map(([owner, name, value]) => [`${owner}.${name}`, value?.trim()]))
    const known = new Map(options.map(({ owner, name, fallback }) => [`${owner}.${name}`, shownAs(fallback)]))
    expect(Object.fromEntries([...shown].sort())).toEqual(Object.fromEntries([...known].sort()))
  })

  test('every row says why', () => {
    const rows = rowsOf(/^\| `\w+\.(\w+)` \|[^|]+\| (.*) \|$/gm)
    expect(rows.length).toBe(options.length)
    for (const [name, why] of rows) expect(why?.length, `why ${name}`).toBeGreaterThan(10)
  })

  test.each(
    options.filter(
      ({ fallback, owner, name }) => fallback !== 'none' && !MADE_BY_RULE.includes(`${owner}.${name}`),
    ),
  )('the code of $package gives $owner.$name the default $fallback', (option) => {
    expect(defaultsInCode(option.package, option.name)).toContain(numberOf(option.fallback))
  })

  test('has a row for each number in the configuration file, with its default', () => {
    const rows = rowsOf(/^\| `([a-z0-9_]+)` \| ([\d,]+) \| .+ \|$/gm)
    const numbers = CONFIGURATION_KEYS.filter(
      ({ fallback, name }) => typeof fallback === 'number' && name !== 'version' && name !== 'threads',
    )
    const shown = rows.map(([key, value]) => [key, numberOf(value ?? '')])
    expect(Object.fromEntries(shown)).toEqual(
      Object.fromEntries(numbers.map(({ fileName, fallback }) => [fileName, fallback])),
    )
  })

  test('the bounds without an option are those of the sources', () => {
    const rows = rowsOf(/^\| `([\w-]+)` \| `([A-Z_0-9]+)` \| ([\d,]+) \| .+ \|$/gm)
    expect(rows.length).toBeGreaterThan(20)
    for (const [folder = '', name = '', value = ''] of rows) {
      const sources = filesUnder(join(root, 'packages', folder, 'src'), '.ts')
      const declared = sources.flatMap((file) => {
        const found = new RegExp(String.raw`const ${name}(?:: number)? = ([\d_]+)`).exec(
          readFileSync(file, 'utf8'),
        )
        return found === null ? [] : [Number(found[1]?.replaceAll('_', ''))]
      })
      expect(declared, `${folder}: ${name}`).toContain(numberOf(value))
    }
  })
})

function shownAs(fallback: string): string {
  return /^[\d,]+$/.test(fallback) ? numberOf(fallback).toLocaleString('en') : fallback
}
