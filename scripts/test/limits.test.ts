import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CONFIGURATION_KEYS } from '../../packages/core/src/configuration/configuration-keys.ts'
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

/**
 * Constants that bound nothing that others could cause: the range of an option, a property of a format, or where one
 * way of doing things becomes dearer than the other.
 */
const NO_BOUNDS: Readonly<Record<string, string>> = {
  'access-log': 'BYTES_PER_CHARACTER_MAX RECONNECT_DELAY_MAX_MS',
  core: 'LEVEL_MAX SECONDS_MAX INTEGER_MAX TIMEOUT_MS_MAX TIMER_MS_MAX HEADER_BYTES_MOST LENGTH_MAX HEARTBEAT_MS_MAX RESTART_MS_MAX ALPN_BYTES_MAX UNIX_PATH_BYTES_MAX KNOWN_NODE_MAJOR_MAX PSEUDO_FIELDS_MAX GATHERING_MAX SPARE_COUNT_MAX SPARE_LONG_COUNT_MAX TEXT_BODY_BYTES_MAX',
  error: 'STATES_MAX',
  hpack:
    'LIST_BYTES_MAX FIELDS_MAX DEPTH_MAX MISSES_MAX GUESSED_MAX UPDATES_BYTES_MAX FIELD_BYTES_MAX LOOP_MAX CODE_BITS_MAX INTEGER_BYTES_MAX KEY_BYTES_MAX',
  http: 'BYTES_CEILING CONNECTION_OPTIONS_CEILING WHOLE_CHUNK_BYTES_MAX HEAD_BYTES_CEILING FIELDS_CEILING SECOND_MAX TARGET_BYTES_CEILING',
  http2:
    'INTEGER_31_MAX SINGLE_RUNS_MAX GATHERED_RUN_BYTES_MAX SPARE_COUNT_MAX USED_COUNT_MAX COPY_BYTES_MAX FRAME_BYTES_MAX FRAME_BYTES_MOST',
  ketama: 'POINT_COUNT_MAX',
  limits:
    'COUNT_MAX SECONDS_MAX UNITS_MAX WINDOW_MS_MAX INTERVAL_MS_MAX LIMIT_MAX CAPACITY_MAX TOKENS_PER_SECOND_MAX BEHIND_MAX',
  'load-balancing':
    'WEIGHT_MAX TIMER_MS_MAX PARALLEL_MAX PROPOSALS_MAX PASSES_MAX DRAWS_MAX PAIRS_MAX AT_ONCE_MAX NAMED_MAX RETRY_MS_MAX',
  'memory-cache': 'ENTRIES_MAX_MOST WEIGHT_MOST TIMEOUT_MS_MOST',
  prometheus: 'EVENTS_MAX',
  proxy: 'SPARE_COUNT_MAX',
  'stream-proxy': 'TIMEOUT_MS_MAX OWN_COUNT_MAX SPARE_COUNT_MAX',
  timeout: 'TIMER_MS_MAX',
  tinyufo: 'COUNTER_MAX ENTRIES_MAX ESTIMATED_SIZE_DEFAULT_MAX WEIGHT_MAX USES_MAX SWEEP_MAX',
}

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

  test('and each bound of the sources is there', () => {
    const shown = new Set(
      rowsOf(/^\| `([\w-]+)` \| `([A-Z_0-9]+)` \| .+ \|$/gm).map(([folder, name]) => `${folder}: ${name}`),
    )
    const declared = packageFolders().flatMap((folder) =>
      filesUnder(join(root, 'packages', folder, 'src'), '.ts').flatMap((file) => {
        const names = readFileSync(file, 'utf8').matchAll(
          /^(?:export )?const ([A-Z0-9_]+_(?:MAX|MOST|CEILING|TIMEOUT_MS|MAX_MS))\b/gm,
        )
        return [...names].map(([, name]) => [folder, name as string] as const)
      }),
    )
    const known = ([folder, name]: readonly [string, string]) =>
      shown.has(`${folder}: ${name}`) || NO_BOUNDS[folder]?.split(' ').includes(name) === true
    expect(declared.filter((one) => !known(one)).map(([folder, name]) => `${folder}: ${name}`)).toEqual([])
    for (const [folder, names] of Object.entries(NO_BOUNDS)) {
      for (const name of names.split(' ')) expect(declared).toContainEqual([folder, name])
    }
  })
})

function packageFolders(): string[] {
  return readdirSync(join(root, 'packages'))
}

function shownAs(fallback: string): string {
  return /^[\d,]+$/.test(fallback) ? numberOf(fallback).toLocaleString('en') : fallback
}
