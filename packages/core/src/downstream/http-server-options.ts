import { inspect } from 'node:util'
import type { HttpProfile } from '@cirque/http'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { nameHint } from '../nearest-name.ts'
import { requireOptions } from '../option-checks.ts'
import { isServerName, SERVER_NAME_RULE } from './server-name.ts'

/** How an HTTP service treats its clients. Every bound has a default; 0 means "none" only where it says so. */
export interface HttpServerOptions {
  /** From a head's first byte to its last, in milliseconds; then 408. Default 15,000. */
  readonly headTimeoutMs?: number
  /** How long a connection may sit idle before its first and between its requests, in milliseconds, and up to a tenth more, so that many do not close at once. Default 60,000. */
  readonly idleTimeoutMs?: number
  /**
   * While the service drains: how long a connection that has just come may take for its first request, in
   * milliseconds since it came. One that is older or has been used is closed at once. Default 500.
   */
  readonly firstRequestTimeoutMs?: number
  /** Between two reads of a request's body, in milliseconds; then 408. Default 60,000. */
  readonly bodyTimeoutMs?: number
  /** How long a write to the client may make no progress, in milliseconds. Default 60,000. */
  readonly writeTimeoutMs?: number
  /**
   * From a request's head to the end of its body, in milliseconds, however steadily it drips; then 408. HTTP/1.
   * Default 3,600,000.
   */
  readonly requestTimeoutMs?: number
  /**
   * A client that takes less than this of a response that waits for it, in bytes per second over a
   * `writeTimeoutMs`, is cut. HTTP/1. Default 0: any progress will do.
   */
  readonly sendBytesPerSecondMin?: number
  /** Requests on one connection, 1 to 2^31-1; the last response says `Connection: close`. Default 10,000. */
  readonly requestsPerConnectionMax?: number
  /** Largest request body in bytes, else 413. Bodies stream, so 0, the default, means no limit. */
  readonly requestBodyBytesMax?: number
  /**
   * An unread request body up to this size is read and dropped after an early response, so that the
   * connection can go on; beyond it the connection closes. Default 65,536 bytes.
   */
  readonly discardBytesMax?: number
  /** How long a closing connection is read from, so that the last response is not lost, in milliseconds. Default 2,000. */
  readonly lingerTimeoutMs?: number
  /** Bytes that a closing connection may still send before it is cut. Default 1 MiB. */
  readonly lingerBytesMax?: number
  /**
   * A client that closes its sending side while it waits for the response has gone: abort. Default true,
   * as in Pingora and nginx; false tolerates clients that half-close.
   */
  readonly abortOnClose?: boolean
  /** Largest request head in bytes, else 431. Default 65,536. */
  readonly headBytesMax?: number
  /** Most fields in a request head, else 431. Default 256. */
  readonly fieldsMax?: number
  /** Longest request target in bytes, else 414. Default 8,192. */
  readonly targetBytesMax?: number
  /** Offer HTTP/2 in TLS handshakes (ALPN `h2`), before HTTP/1.1. Default true. */
  readonly http2?: boolean
  /** Serve HTTP/2 on cleartext connections that begin with its preface, beside HTTP/1. Default false. */
  readonly h2c?: boolean
  /** Requests at once on one HTTP/2 connection; more are refused. Default 100. */
  readonly http2StreamsMax?: number
  /** What a client may send ahead of each HTTP/2 request's body, in bytes, 16,384 to 2^31-1. Default 65,535. */
  readonly http2WindowBytes?: number
  /** Requests that may be reset at once on one HTTP/2 connection, by either side; then it is closed. Default 1,000. */
  readonly http2ResetBurstMax?: number
  /** The same in the long run, per second. Default 33. */
  readonly http2ResetsPerSecondMax?: number
  /** PING and SETTINGS frames per second on one HTTP/2 connection, ten times as many at once. Default 1,000. */
  readonly http2ControlFramesPerSecondMax?: number
  /**
   * Where a TLS listener has several certificates, which requests are refused with 421 because their host is not that
   * of their connection: `'http2'`, those over HTTP/2 whose host the connection's certificate does not name;
   * `'always'`, over HTTP/1 too. Both refuse over either a host whose clients are asked for another certificate than
   * this one was. `'never'` leaves it all to the application. Default `'http2'`.
   */
  readonly hostCheck?: 'http2' | 'always' | 'never'
  /** How strictly HTTP/1 is read. `'strict'` unless you must serve broken clients; see the page on strictness. */
  readonly profile?: HttpProfile
  /** The `Server` field on responses that Cirque itself generates; `''` leaves it out. Default `'Cirque'`. */
  readonly serverName?: string
}

/** {@link HttpServerOptions} with every default filled in and checked. */
export type ResolvedHttpServerOptions = Required<HttpServerOptions>

const DEFAULTS: ResolvedHttpServerOptions = Object.freeze({
  headTimeoutMs: 15_000,
  idleTimeoutMs: 60_000,
  firstRequestTimeoutMs: 500,
  bodyTimeoutMs: 60_000,
  writeTimeoutMs: 60_000,
  requestTimeoutMs: 3_600_000,
  sendBytesPerSecondMin: 0,
  requestsPerConnectionMax: 10_000,
  requestBodyBytesMax: 0,
  discardBytesMax: 65_536,
  lingerTimeoutMs: 2_000,
  lingerBytesMax: 1_048_576,
  abortOnClose: true,
  headBytesMax: 65_536,
  fieldsMax: 256,
  targetBytesMax: 8_192,
  http2: true,
  h2c: false,
  http2StreamsMax: 100,
  http2WindowBytes: 65_535,
  http2ResetBurstMax: 1_000,
  http2ResetsPerSecondMax: 33,
  http2ControlFramesPerSecondMax: 1_000,
  hostCheck: 'http2',
  profile: 'strict',
  serverName: 'Cirque',
})

const ZERO_ALLOWED: ReadonlySet<string> = new Set([
  'firstRequestTimeoutMs',
  'requestBodyBytesMax',
  'discardBytesMax',
  'lingerBytesMax',
  'sendBytesPerSecondMin',
])
const HOST_CHECKS: ReadonlySet<string> = new Set(['http2', 'always', 'never'])
const INTEGER_MAX = 2 ** 31 - 1

/**
 * Fills in the defaults and checks every value.
 *
 * @throws {TypeError} For an unknown option or a value of the wrong type.
 * @throws {RangeError} For a number out of bounds.
 */
export function resolveHttpServerOptions(options: HttpServerOptions = {}): ResolvedHttpServerOptions {
  requireOptions(options, 'the HTTP server')
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw new TypeError(`Unknown HTTP server option "${name}"${nameHint(name, Object.keys(DEFAULTS))}`)
    }
    if (value === undefined) continue
    const expected = typeof DEFAULTS[name as keyof ResolvedHttpServerOptions]
    if (typeof value !== expected) {
      throw new TypeError(`HTTP server option "${name}" must be a ${expected}, not ${String(value)}`)
    }
    if (expected === 'number') checkNumber(name, value as number)
  }
  if (options.profile !== undefined && options.profile !== 'strict' && options.profile !== 'lenient') {
    throw new TypeError(
      `HTTP server option "profile" must be "strict" or "lenient", not "${options.profile}"`,
    )
  }
  if (options.serverName !== undefined && !isServerName(options.serverName)) {
    throw new TypeError(
      `HTTP server option "serverName" must be ${SERVER_NAME_RULE}, not ${inspect(options.serverName)}`,
    )
  }
  if (options.hostCheck !== undefined && !HOST_CHECKS.has(options.hostCheck)) {
    throw new TypeError(
      `HTTP server option "hostCheck" must be "http2", "always" or "never", not "${options.hostCheck}"`,
    )
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return Object.freeze({ ...DEFAULTS, ...given })
}

/** What {@link httpServerOptions} reads. */
export type HttpServerConfiguration = Partial<
  Pick<
    ServerConfiguration,
    | 'h2c'
    | 'http2'
    | 'http2StreamsMax'
    | 'httpBodyTimeoutSeconds'
    | 'httpHeadBytesMax'
    | 'httpHeadTimeoutSeconds'
    | 'httpIdleTimeoutSeconds'
    | 'httpRequestBodyBytesMax'
    | 'httpRequestsPerConnectionMax'
    | 'httpRequestTimeoutSeconds'
    | 'httpServerName'
    | 'httpWriteTimeoutSeconds'
  >
>

/**
 * The options that a configuration gives HTTP servers. Proxies read them by themselves; `serveHttp` takes them like any
 * others, and those of your own go over them.
 *
 * @example
 * serveHttp(serve, { ...httpServerOptions(server.configuration), h2c: true })
 */
export function httpServerOptions(configuration: HttpServerConfiguration): HttpServerOptions {
  return {
    ...given('http2', configuration.http2),
    ...given('h2c', configuration.h2c),
    ...given('http2StreamsMax', configuration.http2StreamsMax),
    ...given('headTimeoutMs', milliseconds(configuration.httpHeadTimeoutSeconds)),
    ...given('bodyTimeoutMs', milliseconds(configuration.httpBodyTimeoutSeconds)),
    ...given('requestTimeoutMs', milliseconds(configuration.httpRequestTimeoutSeconds)),
    ...given('writeTimeoutMs', milliseconds(configuration.httpWriteTimeoutSeconds)),
    ...given('idleTimeoutMs', milliseconds(configuration.httpIdleTimeoutSeconds)),
    ...given('requestsPerConnectionMax', configuration.httpRequestsPerConnectionMax),
    ...given('headBytesMax', configuration.httpHeadBytesMax),
    ...given('requestBodyBytesMax', configuration.httpRequestBodyBytesMax),
    ...given('serverName', configuration.httpServerName),
  }
}

function given<K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [key in K]?: V }
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1_000)
}

function checkNumber(name: string, value: number): void {
  const least = name === 'http2WindowBytes' ? 16_384 : ZERO_ALLOWED.has(name) ? 0 : 1
  const most = name.endsWith('BytesMax') ? Number.MAX_SAFE_INTEGER : INTEGER_MAX
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(
      `HTTP server option "${name}" must be an integer from ${least} to ${most}, not ${value}`,
    )
  }
}
