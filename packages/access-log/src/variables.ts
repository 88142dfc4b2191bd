import { hostname } from 'node:os'
import type { Attempt } from '@cirque/proxy'
import { suggest } from './check.ts'
import { isoTime, localTime } from './clock.ts'
import type { Entry } from './entry.ts'
import { REDACTED } from './redaction.ts'

/** What a variable says of a request; undefined for nothing, which a line shows as `-`. */
export type Value = string | number | undefined

/** Reads a variable. Called once per line and place in it. */
export type Reader = (entry: Entry) => Value

const HOST = hostname()

const PLAIN: Readonly<Record<string, Reader>> = {
  // The client and its connection.
  remote_addr: (entry) => entry.digest.remoteAddress,
  remote_port: (entry) => entry.digest.remotePort,
  remote_user: (entry) => basicUser(entry.session.request.get('authorization')),
  server_addr: (entry) => entry.digest.localAddress,
  server_port: (entry) => entry.digest.localPort,
  connection_requests: (entry) => entry.digest.requestCount,
  scheme: (entry) => (entry.digest.tls === undefined ? 'http' : 'https'),
  ssl_protocol: (entry) => entry.digest.tls?.version,
  ssl_cipher: (entry) => entry.digest.tls?.cipher,
  ssl_curve: (entry) => entry.digest.tls?.group,
  ssl_server_name: (entry) => entry.digest.tls?.sni,
  ssl_session_reused: (entry) =>
    entry.digest.tls === undefined ? undefined : entry.digest.tls.resumed ? 'r' : '.',
  // The request.
  request: (entry) => {
    const { method, target } = entry.session.request
    return `${method} ${entry.redactor.target(target)} ${protocol(entry)}`
  },
  request_method: (entry) => entry.session.request.method,
  request_uri: (entry) => entry.redactor.target(entry.session.request.target),
  uri: (entry) => entry.session.request.path,
  args: query,
  query_string: query,
  host: (entry) => entry.session.request.host,
  server_protocol: protocol,
  request_id: (entry) => entry.session.requestId,
  request_body_bytes: (entry) => entry.session.downstream.requestBodyBytes,
  // The response.
  status: (entry) => entry.status,
  body_bytes_sent: (entry) => entry.session.downstream.responseBodyBytes,
  clf_body_bytes_sent: (entry) => entry.session.downstream.responseBodyBytes || undefined,
  request_completion: (entry) => (entry.session.downstream.responseEnded ? 'OK' : undefined),
  error_code: (entry) => entry.error?.code,
  error_source: (entry) => entry.error?.source,
  limits: (entry) => limitsOf(entry),
  // Time.
  time_local: (entry) => localTime(entry.now),
  time_iso8601: (entry) => isoTime(entry.now),
  msec: (entry) => seconds(entry.now),
  request_time: (entry) => seconds(entry.session.record.endedAt - entry.session.record.startedAt),
  // The attempts, separated by commas.
  attempts: (entry) => entry.session.record.attempts.length,
  upstream_addr: (entry) => ofAttempts(entry, ({ peer }) => peer?.address?.text),
  upstream_status: (entry) => ofAttempts(entry, ({ status }) => (status === 0 ? undefined : String(status))),
  upstream_error: (entry) => ofAttempts(entry, ({ error }) => error?.code),
  upstream_reused: (entry) => ofAttempts(entry, ({ reused }) => (reused ? '1' : '0')),
  upstream_connect_time: (entry) => ofAttempts(entry, (attempt) => since(attempt, attempt.connectedAt)),
  upstream_header_time: (entry) => ofAttempts(entry, (attempt) => since(attempt, attempt.respondedAt)),
  upstream_response_time: (entry) => ofAttempts(entry, (attempt) => since(attempt, attempt.endedAt)),
  // The process.
  hostname: () => HOST,
  pid: () => process.pid,
}

/** Every variable with a fixed name. `$http_NAME` reads a field of the request, `$arg_NAME` a parameter of the query. */
export const ACCESS_LOG_VARIABLES: readonly string[] = Object.freeze(Object.keys(PLAIN).sort())

/** What of the connection is gone once the client is, unless it was asked for before. */
const ADDRESSES: ReadonlySet<string> = new Set(['remote_addr', 'remote_port', 'server_addr', 'server_port'])

export function readsAddresses(name: string): boolean {
  return ADDRESSES.has(name)
}

/** What needs no escape and has its bound: numbers, and words of ours or that the parsers have checked. */
const PLAIN_VALUES: ReadonlySet<string> = new Set([
  ...ADDRESSES,
  'body_bytes_sent',
  'clf_body_bytes_sent',
  'connection_requests',
  'msec',
  'pid',
  'request_body_bytes',
  'request_completion',
  'request_time',
  'scheme',
  'server_protocol',
  'status',
  'time_iso8601',
  'time_local',
])

export function isPlainVariable(name: string): boolean {
  return PLAIN_VALUES.has(name)
}

/** Whether a variable says the same for all requests with the same fields. */
export function isFieldVariable(name: string): boolean {
  return name === 'remote_user' || name === 'host' || name.startsWith('http_')
}

/** @throws {TypeError} If there is no such variable; the message names the nearest one. */
export function readerOf(name: string, isSecretField: (name: string) => boolean): Reader {
  if (Object.hasOwn(PLAIN, name)) return PLAIN[name] as Reader
  if (/^http_[a-z0-9_]+$/.test(name)) return fieldReader(name.slice(5).replaceAll('_', '-'), isSecretField)
  if (/^arg_[\w-]+$/.test(name)) return parameterReader(name.slice(4))
  throw new TypeError(`Unknown variable "$${name}"${suggest(name, ACCESS_LOG_VARIABLES)}`)
}

function fieldReader(field: string, isSecretField: (name: string) => boolean): Reader {
  if (isSecretField(field)) return ({ session }) => (session.request.has(field) ? REDACTED : undefined)
  // The page that linked here may have had secrets in its own query.
  if (field === 'referer') {
    return ({ session, redactor }) => {
      const value = session.request.get(field)
      return value === undefined ? undefined : redactor.target(value)
    }
  }
  return ({ session }) => session.request.getCombined(field)
}

function parameterReader(parameter: string): Reader {
  return ({ session, redactor }) => {
    const value = parameterOf(session.request.query, parameter)
    if (value === undefined) return undefined
    // To an application that separates with `;` there may be another parameter in it.
    return redactor.query(`${parameter}=${value}`).slice(parameter.length + 1)
  }
}

/** The first value of a parameter, as it was sent. */
function parameterOf(query: string | undefined, parameter: string): string | undefined {
  if (query === undefined) return undefined
  for (const pair of query.split('&')) {
    if (pair.startsWith(`${parameter}=`)) return pair.slice(parameter.length + 1)
  }
  return undefined
}

function query({ session, redactor }: Entry): Value {
  const { query } = session.request
  return query === undefined ? undefined : redactor.query(query)
}

function protocol({ session }: Entry): string {
  const { version } = session.request
  return version === 'HTTP/2' ? 'HTTP/2.0' : version
}

/** The name of basic authentication; never the password. */
function basicUser(authorization: string | undefined): string | undefined {
  const encoded = authorization === undefined ? null : /^basic +([\w+/=-]+)$/i.exec(authorization)
  if (encoded === null) return undefined
  const decoded = Buffer.from(encoded[1] as string, 'base64').toString('latin1')
  const colon = decoded.indexOf(':')
  return colon < 1 ? undefined : decoded.slice(0, colon)
}

function limitsOf({ session }: Entry): string | undefined {
  const { limits } = session.record
  if (limits.length === 0) return undefined
  return limits.map(({ name, allowed }) => `${name}: ${allowed ? 'allowed' : 'refused'}`).join(', ')
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3)
}

function since(attempt: Attempt, at: number): string | undefined {
  return at === 0 ? undefined : seconds(at - attempt.startedAt)
}

function ofAttempts(entry: Entry, read: (attempt: Attempt) => string | undefined): Value {
  const { attempts } = entry.session.record
  if (attempts.length === 1) return read(attempts[0] as Attempt)
  if (attempts.length === 0) return undefined
  return attempts.map((attempt) => read(attempt) ?? '-').join(', ')
}
