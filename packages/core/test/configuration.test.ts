import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CONFIGURATION_KEYS, REFUSED_KEYS } from '../src/configuration/configuration-keys.ts'
import {
  CONFIGURATION_BYTES_MAX,
  ConfigurationError,
  type ConfigurationInput,
  createConfiguration,
  loadConfiguration,
  parseConfiguration,
} from '../src/index.ts'

function mistakes(act: () => unknown): ConfigurationError {
  try {
    act()
  } catch (error) {
    if (error instanceof ConfigurationError) return error
    throw error
  }
  throw new Error('Nothing was refused')
}

test('an empty configuration is all defaults, complete and frozen', () => {
  const configuration = parseConfiguration('')
  expect(configuration).toEqual(createConfiguration())
  expect(configuration).toEqual({
    version: 1,
    threads: 1,
    threadWatchdogSeconds: 5,
    threadWatchdogReplaces: false,
    threadHeapMegabytes: undefined,
    daemon: false,
    daemonReadyTimeoutSeconds: 600,
    errorLog: undefined,
    errorLogLevel: 'info',
    pidFile: undefined,
    user: undefined,
    group: undefined,
    workingDirectory: undefined,
    gracePeriodSeconds: 300,
    gracefulShutdownTimeoutSeconds: 5,
    upgradeSock: undefined,
    upgradeWaitsForSignal: true,
    upgradeReadyTimeoutSeconds: 60,
    upgradeCloseTimeoutSeconds: 5,
    connectionsMax: 20_000,
    connectionsPerIpMax: 0,
    listenerBacklog: 65_535,
    listenerReusePort: false,
    listenerKeepAliveSeconds: 0,
    http2: true,
    h2c: false,
    http2StreamsMax: 100,
    httpHeadTimeoutSeconds: 15,
    httpBodyTimeoutSeconds: 60,
    httpRequestTimeoutSeconds: 3_600,
    httpWriteTimeoutSeconds: 60,
    httpIdleTimeoutSeconds: 60,
    httpRequestsPerConnectionMax: 10_000,
    httpHeadBytesMax: 65_536,
    httpRequestBodyBytesMax: 0,
    httpServerName: 'Cirque',
    caFile: undefined,
    clientBindToIpv4: [],
    clientBindToIpv6: [],
    upstreamKeepalivePoolSize: 1_024,
    upstreamKeepalivePoolSizePerPeer: undefined,
    upstreamConnectionAgeMaxSeconds: 3_600,
    upstreamRequestsPerConnectionMax: 0,
    upstreamDebugSslKeylog: false,
    maxRetries: 16,
    retryBufferBytesMax: 65_536,
    filterTimeoutSeconds: 60,
    app: undefined,
  })
  expect(Object.keys(configuration)).toHaveLength(CONFIGURATION_KEYS.length)
  expect(Object.isFrozen(configuration)).toBe(true)
  expect(Object.isFrozen(configuration.clientBindToIpv4)).toBe(true)
})

const YAML = `
version: 1          # the only one
grace_period_seconds: 0.5
graceful_shutdown_timeout_seconds: 2
client_bind_to_ipv4: [127.0.0.2, 127.0.0.3]
client_bind_to_ipv6: "::1"
upstream_keepalive_pool_size: 0
max_retries: 1
pid_file: run/x.pid
app:
  routes: [{ path: / }]
`

test('reads YAML, and JSON alike', () => {
  const expected = createConfiguration({
    gracePeriodSeconds: 0.5,
    gracefulShutdownTimeoutSeconds: 2,
    clientBindToIpv4: ['127.0.0.2', '127.0.0.3'],
    clientBindToIpv6: ['::1'],
    upstreamKeepalivePoolSize: 0,
    maxRetries: 1,
    pidFile: resolve('run/x.pid'),
    app: { routes: [{ path: '/' }] },
  })
  expect(parseConfiguration(YAML)).toEqual(expected)
  const json = JSON.stringify(
    {
      grace_period_seconds: 0.5,
      graceful_shutdown_timeout_seconds: 2,
      client_bind_to_ipv4: ['127.0.0.2', '127.0.0.3'],
      client_bind_to_ipv6: ['::1'],
      upstream_keepalive_pool_size: 0,
      max_retries: 1,
      pid_file: 'run/x.pid',
      app: { routes: [{ path: '/' }] },
    },
    undefined,
    '\t',
  )
  expect(parseConfiguration(json)).toEqual(expected)
})

test('a text is laid over a base', () => {
  const base = createConfiguration({ maxRetries: 3, gracePeriodSeconds: 7, group: 'staff' })
  const configuration = parseConfiguration('max_retries: 4\nuser: joe', 'x', base)
  expect(configuration).toMatchObject({ maxRetries: 4, gracePeriodSeconds: 7, user: 'joe', group: 'staff' })
})

test('names every mistake at once, with line, column and the nearest name', () => {
  const text =
    'version: 2\nthreads: 257\ngrace_perod_seconds: 3\nmax_retries: many\npid_file:\nuser: joe\nfoo: 1\n'
  const error = mistakes(() => parseConfiguration(text, 'proxy.yaml'))
  expect(error.message).toMatchInlineSnapshot(`
    "7 mistakes:
      proxy.yaml:1:10: "version": expected 1, received 2: only format 1 exists
      proxy.yaml:2:10: "threads": expected "auto" or a whole number from 1 to 256, received 257
      proxy.yaml:3:1: "grace_perod_seconds": unknown key; did you mean "grace_period_seconds"?
      proxy.yaml:4:14: "max_retries": expected a whole number from 1 to 100, received 'many'
      proxy.yaml:5:10: "pid_file": expected a path, received null
      proxy.yaml:6:1: "user": needs "group" as well, or the process would keep the groups it has
      proxy.yaml:7:1: "foo": unknown key; keys of your own go under "app""
  `)
  expect(error.file).toBe('proxy.yaml')
  expect(error.issues[2]).toEqual({
    key: 'grace_perod_seconds',
    message: 'unknown key',
    line: 3,
    column: 1,
    suggestion: 'grace_period_seconds',
  })
})

test('refuses what a listener or an HTTP server would refuse, at its place', () => {
  const text =
    'listener_reuseport: true\nlistener_reuse_port: yes\nlistener_keep_alive_seconds: 1.5\nhttp_head_timeout_seconds: 0\n' +
    'http_server_name: "a\\r\\nX: y"\nerror_log_level: notice\nh2c: 1\nretry_buffer_bytes_max: .inf\n'
  expect(mistakes(() => parseConfiguration(text, 'f')).message).toMatchInlineSnapshot(`
    "8 mistakes:
      f:1:1: "listener_reuseport": unknown key; did you mean "listener_reuse_port"?
      f:2:22: "listener_reuse_port": expected true or false, received 'yes'
      f:3:30: "listener_keep_alive_seconds": expected a whole number from 0 to 32767, received 1.5
      f:4:28: "http_head_timeout_seconds": expected seconds from 0.001 to 2147483, received 0
      f:5:19: "http_server_name": expected printable ASCII of at most 128 characters, without spaces around it, received 'a\\r\\nX: y'
      f:6:18: "error_log_level": expected one of debug, info, warn, error, silent, received 'notice'
      f:7:6: "h2c": expected true or false, received 1
      f:8:25: "retry_buffer_bytes_max": expected a whole number from 0 to 1073741824, received Infinity"
  `)
  // YAML 1.2 has one spelling of true.
  expect(parseConfiguration('listener_reuse_port: true').listenerReusePort).toBe(true)
})

test('names every mistake of an object, without a place', () => {
  const input = { maxRetres: 1, pidFile: 3, max_retries: 2, user: 'x' } as unknown as ConfigurationInput
  const error = mistakes(() => createConfiguration(input))
  expect(error.issues.map(({ key, line, suggestion }) => [key, line, suggestion])).toEqual([
    ['maxRetres', undefined, 'maxRetries'],
    ['pidFile', undefined, undefined],
    ['max_retries', undefined, 'maxRetries'],
    ['user', undefined, undefined],
  ])
})

test.each(Object.keys(REFUSED_KEYS))("says why Pingora's %s has no place here", (key) => {
  const error = mistakes(() => parseConfiguration(`${key}: 1`))
  expect(error.issues[0]?.message).toMatch(/^not supported: \w/)
})

test.each([
  ['a: [', '1:5'],
  ['max_retries: 1\nmax_retries: 2', '2:1'],
  ['- 1', '1:1'],
  ['max_retries: !own 3', '1:14'],
  ['"a', '1:'],
  ['app: *nowhere', '1:6'],
  ['a: 1\n---\nb: 2', '2:1'],
])('refuses %j at its place', (text, place) => {
  expect(mistakes(() => parseConfiguration(text, 'f')).message).toContain(`f:${place}`)
})

test.each(['? {a: b}\n: 1', 'app:\n  ? [a]\n  : 1', 'app: {*a : 1, b: &a c}'])(
  'refuses a key that is no plain text: %j',
  (text) => {
    expect(mistakes(() => parseConfiguration(text)).message).toMatch(/expected text as a key|alias/)
  },
)

test('refuses a flood of aliases and a text that is too large', () => {
  const bomb = [`app:\n  a: &a [${'x,'.repeat(50)}]`]
  for (let level = 0; level < 8; level += 1) {
    const [from, to] = [String.fromCharCode(97 + level), String.fromCharCode(98 + level)]
    bomb.push(`  ${to}: &${to} [${`*${from},`.repeat(20)}]`)
  }
  expect(mistakes(() => parseConfiguration(bomb.join('\n'))).message).toContain('alias')
  const fill = (bytes: number) => `#${'x'.repeat(bytes - 1)}`
  expect(parseConfiguration(fill(CONFIGURATION_BYTES_MAX)).version).toBe(1)
  expect(mistakes(() => parseConfiguration(fill(CONFIGURATION_BYTES_MAX + 1))).message).toContain('at most')
})

test('__proto__ and constructor are keys like any other', () => {
  const error = mistakes(() => parseConfiguration('__proto__: {daemon: true}\nconstructor: 1'))
  expect(error.issues.map((issue) => issue.key)).toEqual(['__proto__', 'constructor'])
})

test('any text either parses or is refused with a ConfigurationError', () => {
  const names = [...CONFIGURATION_KEYS.map((key) => key.fileName), 'x', '']
  const line = fc.tuple(fc.constantFrom(...names), fc.constantFrom(': ', ':', ' '), fc.json({ maxDepth: 2 }))
  const text = fc.oneof(
    fc.string(),
    fc.array(line.map((parts) => parts.join(''))).map((all) => all.join('\n')),
  )
  fc.assert(
    fc.property(text, (given) => {
      try {
        parseConfiguration(given)
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigurationError)
      }
    }),
  )
})

test('loads a file, and says so if it cannot', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-conf-'))
  try {
    const file = join(folder, 'proxy.yaml')
    writeFileSync(file, `ca_file: ${JSON.stringify(file)}`)
    expect(loadConfiguration(file).caFile).toBe(file)
    writeFileSync(file, 'ca_file: /nowhere/ca.pem')
    expect(mistakes(() => loadConfiguration(file)).message).toContain('cannot read "/nowhere/ca.pem": ENOENT')
    writeFileSync(file, Buffer.from([0x61, 0x3a, 0xff]))
    expect(mistakes(() => loadConfiguration(file)).message).toContain('cannot be read')
    writeFileSync(file, Buffer.alloc(CONFIGURATION_BYTES_MAX + 1, 35))
    expect(mistakes(() => loadConfiguration(file)).message).toContain('at most')
    expect(mistakes(() => loadConfiguration(join(folder, 'none'))).message).toContain('ENOENT')
    expect(mistakes(() => loadConfiguration(folder)).message).toContain('EISDIR')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('no setting is dead: each is read outside the configuration itself', () => {
  const folder = join(import.meta.dirname, '../src')
  // `version` has one value; `app` is the user's to read.
  const free = new Set(['version', 'app'])
  // Read by connectors and sessions.
  const ofConnectors = new Set([
    'caFile',
    'clientBindToIpv4',
    'clientBindToIpv6',
    'upstreamKeepalivePoolSize',
    'upstreamKeepalivePoolSizePerPeer',
    'upstreamConnectionAgeMaxSeconds',
    'upstreamRequestsPerConnectionMax',
    'upstreamDebugSslKeylog',
    'maxRetries',
    'retryBufferBytesMax',
    'filterTimeoutSeconds',
  ])
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('configuration'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
  for (const { name } of CONFIGURATION_KEYS) {
    if (free.has(name) || ofConnectors.has(name)) continue
    const isRead = sources.some((source) => new RegExp(`\\b${name}\\b`).test(source))
    expect(isRead, name).toBe(true)
  }
})

test('every setting is in the user guide', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/user-guide/configuration.md'), 'utf8')
  for (const { fileName, name } of CONFIGURATION_KEYS)
    expect(page).toContain(`| \`${fileName}\` | \`${name}\` |`)
  for (const fileName of Object.keys(REFUSED_KEYS)) expect(page).toContain(`\`${fileName}\``)
})
