import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { ConfigurationError, type ConfigurationIssue } from './configuration-error.ts'
import { CONFIGURATION_KEYS, type ConfigurationKey, REFUSED_KEYS } from './configuration-keys.ts'
import type { LogLevel } from './logger.ts'
import { nearestName } from './nearest-name.ts'
import { requireOptions } from './option-checks.ts'

/**
 * The server's settings, complete and frozen. Names are the file's keys in camelCase.
 *
 * Made by `parseConfiguration`, `loadConfiguration` or `createConfiguration`, all of which check every value.
 */
export interface ServerConfiguration {
  /** Format of the configuration; only 1 exists. */
  readonly version: 1
  /**
   * Threads that serve connections: 1 is the main thread; more are that many workers, 256 at most, and `'auto'` is one
   * per processor. A service may have a number of its own. Default 1.
   */
  readonly threads: number | 'auto'
  /** A worker whose event loop has not turned for so long is reported, in seconds. Default 5; 0 watches nobody. */
  readonly threadWatchdogSeconds: number
  /** Whether such a worker is ended and replaced. Its connections are cut. Default false. */
  readonly threadWatchdogReplaces: boolean
  /** Old-generation heap of each worker, in MiB; one that needs more dies and is replaced. Default: the runtime's. */
  readonly threadHeapMegabytes: number | undefined
  /** Run in the background, detached from the terminal. Default false. */
  readonly daemon: boolean
  /** How long a daemon may take to get ready, in seconds. Default 600. */
  readonly daemonReadyTimeoutSeconds: number
  /** File that the server's own log is appended to. Default `undefined`: stderr. */
  readonly errorLog: string | undefined
  /** What of the server's own log is written. Default `'info'`. */
  readonly errorLogLevel: LogLevel
  /** File that holds the process id while the server runs. Default `undefined`: none. */
  readonly pidFile: string | undefined
  /** User to become once all services are ready; needs root, and `group`. Default `undefined`: stay. */
  readonly user: string | undefined
  /** Group to become once all services are ready; needs root. Default `undefined`: stay. */
  readonly group: string | undefined
  /** Directory to change to at start. Default `undefined`: stay. */
  readonly workingDirectory: string | undefined
  /** How long running work may take after a graceful shutdown began, in seconds. Default 300. */
  readonly gracePeriodSeconds: number
  /** How long cleanups may take after that, in seconds. Default 5. */
  readonly gracefulShutdownTimeoutSeconds: number
  /**
   * Unix socket over which a successor takes over (`--upgrade`), mode 0600; put it where only the service's user may
   * write. Default `undefined`: no graceful upgrade, and SIGQUIT only drains.
   */
  readonly upgradeSock: string | undefined
  /** Whether handing over takes SIGQUIT as well as `--upgrade`, in either order within 30 s. Default true. */
  readonly upgradeWaitsForSignal: boolean
  /** How long a successor may take until it serves, in seconds; then this server serves on. Default 60. */
  readonly upgradeReadyTimeoutSeconds: number
  /** How long idle clients of a server that has handed over may ask once more, in seconds. Default 5. */
  readonly upgradeCloseTimeoutSeconds: number
  /** Open connections of each listening service whose options do not say. Default 20,000. */
  readonly connectionsMax: number
  /** The same per client: an IPv4 address or an IPv6 /64. Default 0, no cap. */
  readonly connectionsPerIpMax: number
  /** Connections the kernel queues for each listener whose options do not say. Default 65,535. */
  readonly listenerBacklog: number
  /** `SO_REUSEPORT` for each TCP listener whose options do not say. Default false. */
  readonly listenerReusePort: boolean
  /**
   * Idle time before the first TCP keep-alive probe to clients, in seconds, for each TCP listener whose options do not
   * say. Default 0: no probes.
   */
  readonly listenerKeepAliveSeconds: number
  /** `http2` of each HTTP proxy's `server` options. Default true. */
  readonly http2: boolean
  /** `h2c` of those. Default false. */
  readonly h2c: boolean
  /** `http2StreamsMax` of those. Default 100. */
  readonly http2StreamsMax: number
  /** `headTimeoutMs` of those, in seconds. Default 15. */
  readonly httpHeadTimeoutSeconds: number
  /** `bodyTimeoutMs` of those, in seconds. Default 60. */
  readonly httpBodyTimeoutSeconds: number
  /** `requestTimeoutMs` of those, in seconds. Default 3,600. */
  readonly httpRequestTimeoutSeconds: number
  /** `writeTimeoutMs` of those, in seconds. Default 60. */
  readonly httpWriteTimeoutSeconds: number
  /** `idleTimeoutMs` of those, in seconds. Default 60. */
  readonly httpIdleTimeoutSeconds: number
  /** `requestsPerConnectionMax` of those. Default 10,000. */
  readonly httpRequestsPerConnectionMax: number
  /** `headBytesMax` of those. Default 65,536. */
  readonly httpHeadBytesMax: number
  /** `requestBodyBytesMax` of those. Default 0, no limit. */
  readonly httpRequestBodyBytesMax: number
  /** `serverName` of those; `''` leaves the field out. Default `'Cirque'`. */
  readonly httpServerName: string
  /** PEM file with the certificate authorities for upstream TLS. Default `undefined`: the runtime's own. */
  readonly caFile: string | undefined
  /** IPv4 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv4: readonly string[]
  /** IPv6 source addresses for upstream connections; one is picked at random. Default none. */
  readonly clientBindToIpv6: readonly string[]
  /** Idle upstream connections kept, in total. Default 1,024; 0 keeps none. */
  readonly upstreamKeepalivePoolSize: number
  /** Idle upstream connections kept per peer. Default: `upstreamKeepalivePoolSize`. */
  readonly upstreamKeepalivePoolSizePerPeer: number | undefined
  /** Age after which an upstream connection is not used again, in seconds. Default 3,600; 0 for no limit. */
  readonly upstreamConnectionAgeMaxSeconds: number
  /** Requests on one upstream connection. Default 0, no limit. */
  readonly upstreamRequestsPerConnectionMax: number
  /** Write upstream TLS secrets to the file that `SSLKEYLOGFILE` names. Default false. */
  readonly upstreamDebugSslKeylog: boolean
  /** Most attempts per request, the first included. Default 16. */
  readonly maxRetries: number
  /** Largest request body that is kept to be sent again, in bytes. Default 65,536; 0 keeps none. */
  readonly retryBufferBytesMax: number
  /** How long a filter of a proxy may take, in seconds. Default 60; 0 waits for ever. */
  readonly filterTimeoutSeconds: number
  /** Your own section of the file, unchecked. Default `undefined`. */
  readonly app: unknown
}

/** A configuration in code: any of the settings; the rest gets its default. */
export type ConfigurationInput = {
  readonly [K in keyof ServerConfiguration]?: ServerConfiguration[K] | undefined
}

/** Largest configuration text that is read, in bytes. */
export const CONFIGURATION_BYTES_MAX: number = 1_048_576

type Values = Map<keyof ServerConfiguration, unknown>
type Add = (key: string, message: string, node?: unknown, suggestion?: string) => void

/**
 * Makes a configuration from an object with camelCase names.
 *
 * @throws {ConfigurationError} With every mistake in it: unknown name, wrong type, impossible value.
 * @example
 * createConfiguration({ gracePeriodSeconds: 30, pidFile: '/run/proxy.pid' })
 */
export function createConfiguration(input: ConfigurationInput = {}): ServerConfiguration {
  requireOptions(input, 'the configuration')
  const issues: ConfigurationIssue[] = []
  const values: Values = new Map()
  const add: Add = (key, message, _node, suggestion) => {
    issues.push({ key, message, line: undefined, column: undefined, suggestion })
  }
  for (const [name, value] of Object.entries(input)) {
    const found = CONFIGURATION_KEYS.find((key) => key.name === name)
    if (found === undefined) addUnknown(add, name, 'name', undefined)
    else if (value !== undefined) check(values, found, name, value, undefined, add)
  }
  checkTogether(values, undefined, (key) => key.name, add)
  if (issues.length > 0) throw new ConfigurationError(undefined, issues)
  return complete(values)
}

/**
 * Parses YAML, and thereby JSON, with the file's snake_case keys.
 *
 * @param text - At most {@link CONFIGURATION_BYTES_MAX} bytes.
 * @param file - Shown in errors.
 * @param base - What the text does not set comes from here, instead of the defaults.
 * @throws {ConfigurationError} With every mistake in it, each with line and column.
 */
export function parseConfiguration(
  text: string,
  file: string = 'configuration',
  base?: ServerConfiguration,
): ServerConfiguration {
  const bytes = Buffer.byteLength(text)
  if (bytes > CONFIGURATION_BYTES_MAX) {
    const message = `it has ${bytes} bytes, and at most ${CONFIGURATION_BYTES_MAX} are read`
    throw new ConfigurationError(file, [{ key: '', message, line: 1, column: 1, suggestion: undefined }])
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true })
  const issues: ConfigurationIssue[] = []
  const addAt = (key: string, message: string, offset: number, suggestion?: string) => {
    const { line, col } = lines.linePos(offset)
    issues.push({ key, message, line: Math.max(line, 1), column: Math.max(col, 1), suggestion })
  }
  // A warning of the parser is a tag or directive it cannot honour: refused like an error.
  for (const error of [...document.errors, ...document.warnings]) addAt('', error.message, error.pos[0])
  // A map or a list as a key would become text that nobody wrote.
  visit(document, {
    Pair: (_key, { key }) => {
      if (key !== null && !isScalar(key)) addAt('', 'expected text as a key', offsetOf(key))
    },
  })
  const values: Values = new Map()
  if (issues.length === 0) {
    readDocument(document, values, base, (key, message, node, suggestion) => {
      addAt(key, message, offsetOf(node), suggestion)
    })
  }
  if (issues.length > 0) {
    issues.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
    throw new ConfigurationError(file, issues)
  }
  return complete(values, base)
}

/**
 * Reads and parses a configuration file, synchronously: it is meant for start-up.
 *
 * @throws {ConfigurationError} Also if the file cannot be read.
 */
export function loadConfiguration(file: string, base?: ServerConfiguration): ServerConfiguration {
  return parseConfiguration(readText(file), file, base)
}

function readText(file: string): string {
  const fail = (message: string) =>
    new ConfigurationError(file, [
      { key: '', message, line: undefined, column: undefined, suggestion: undefined },
    ])
  let descriptor: number | undefined
  try {
    descriptor = openSync(file, 'r')
    const { size } = fstatSync(descriptor)
    if (size > CONFIGURATION_BYTES_MAX) {
      throw fail(`it has ${size} bytes, and at most ${CONFIGURATION_BYTES_MAX} are read`)
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor))
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    throw fail(`cannot be read: ${(error as Error).message}`)
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

function readDocument(
  document: Document.Parsed,
  values: Values,
  base: ServerConfiguration | undefined,
  add: Add,
): void {
  const root = document.contents
  if (root === null || (isScalar(root) && root.value === null)) return // an empty file is all defaults
  if (!isMap(root)) {
    add('', 'expected "key: value" lines at the top level', root)
    return
  }
  const nodes = new Map<keyof ServerConfiguration, unknown>()
  for (const pair of root.items) {
    const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key)
    const found = CONFIGURATION_KEYS.find((key) => key.fileName === name)
    if (found === undefined) {
      addUnknown(add, name, 'fileName', pair.key)
      continue
    }
    nodes.set(found.name, pair.key)
    let value: unknown
    try {
      value =
        isScalar(pair.value) || pair.value === null ? (pair.value?.value ?? null) : pair.value.toJS(document)
    } catch (error) {
      add(name, (error as Error).message, pair.value ?? pair.key) // an unknown alias, or too many
      continue
    }
    check(values, found, name, value, pair.value ?? pair.key, add)
  }
  checkTogether(
    values,
    base,
    (key) => key.fileName,
    (key, message) => {
      const found = CONFIGURATION_KEYS.find((candidate) => candidate.fileName === key)
      add(key, message, found === undefined ? root : nodes.get(found.name))
    },
  )
}

function check(
  values: Values,
  key: ConfigurationKey,
  shown: string,
  value: unknown,
  node: unknown,
  add: Add,
): void {
  try {
    values.set(key.name, key.check(value))
  } catch (error) {
    add(shown, (error as Error).message, node)
  }
}

function checkTogether(
  values: Values,
  base: ServerConfiguration | undefined,
  nameOf: (key: ConfigurationKey) => string,
  add: Add,
): void {
  const shown = (name: keyof ServerConfiguration) => {
    const found = CONFIGURATION_KEYS.find((key) => key.name === name)
    return found === undefined ? name : nameOf(found)
  }
  if (values.get('user') !== undefined && (values.get('group') ?? base?.group) === undefined) {
    add(shown('user'), `needs "${shown('group')}" as well, or the process would keep the groups it has`)
  }
}

function addUnknown(add: Add, name: string, style: 'name' | 'fileName', node: unknown): void {
  const reason = Object.hasOwn(REFUSED_KEYS, name) ? REFUSED_KEYS[name] : undefined
  if (reason !== undefined) {
    add(name, `not supported: ${reason}`, node)
    return
  }
  const names = CONFIGURATION_KEYS.map((key) => key[style])
  const own = style === 'fileName' ? '; keys of your own go under "app"' : ''
  const suggestion = nearestName(name, names)
  add(name, `unknown key${suggestion === undefined ? own : ''}`, node, suggestion)
}

function complete(values: Values, base?: ServerConfiguration): ServerConfiguration {
  const entries = CONFIGURATION_KEYS.map((key) => [
    key.name,
    values.has(key.name) ? values.get(key.name) : base === undefined ? key.fallback : base[key.name],
  ])
  return Object.freeze(Object.fromEntries(entries)) as ServerConfiguration
}

function offsetOf(node: unknown): number {
  const range = (node as { range?: readonly number[] | null } | null | undefined)?.range
  return range?.[0] ?? 0
}
