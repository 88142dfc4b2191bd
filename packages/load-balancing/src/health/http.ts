import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { ConnectionOptions } from 'node:tls'
import { buildConnector, Client, type Dispatcher } from 'undici'
import type { Backend } from '../backend.ts'
import { booleanOf, functionOf, integerIn, milliseconds, objectOf, onlyKeys, show } from '../check.ts'
import { withDeadline } from '../deadline.ts'
import type { HealthCheck } from './health-check.ts'

/** What a validator gets to see. */
export interface HealthCheckResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** All of it; a longer one than `bodyBytesMax` has failed before. */
  readonly body: Buffer
}

/** Options of {@link HttpHealthCheck}. */
export interface HttpHealthCheckOptions {
  /** Sent as Host, and as TLS server name. Default: the backend's own address. */
  readonly host?: string
  /** Method of the request. Default `GET`. */
  readonly method?: string
  /** Path and query of the request. Default `/`. */
  readonly path?: string
  /** Further request headers. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
  /** HTTPS, with a verified certificate; or options of `tls.connect`. Default false. */
  readonly tls?: boolean | ConnectionOptions
  /** Status or statuses of a well backend. Not looked at if there is a validator. Default 200. */
  readonly expectedStatus?: number | readonly number[]
  /** Decides instead of `expectedStatus`: false, a throw or a rejection is a failure. */
  readonly validator?: (response: HealthCheckResponse) => boolean | Promise<boolean>
  /** Milliseconds, from 1. Default 1,000. */
  readonly connectTimeoutMs?: number
  /** Time for the whole answer, once connected. Milliseconds, from 1. Default 1,000. */
  readonly readTimeoutMs?: number
  /** Longest body that is read; without a validator the rest is cut off, with one it is a failure. Default 65,536. */
  readonly bodyBytesMax?: number
  /** Keep the connection for the next check, for up to 1,024 backends. Default false: connecting is part of the check. */
  readonly reuseConnection?: boolean
  /** Check this port instead of the backend's. 1 to 65,535; no effect on Unix sockets. */
  readonly portOverride?: number
  /** Successes in a row that make a backend healthy again. From 1. Default 1. */
  readonly consecutiveSuccess?: number
  /** Failures in a row that make a backend unhealthy. From 1. Default 1. */
  readonly consecutiveFailure?: number
  /** Called after a backend's health flipped. Must not throw. */
  readonly healthChangedCallback?: (backend: Backend, healthy: boolean, error: unknown) => void
  /** How a backend is named in the summary. Default: its address. */
  readonly backendSummaryCallback?: (backend: Backend) => string
}

const OPTION_NAMES: readonly string[] = [
  'host',
  'method',
  'path',
  'headers',
  'tls',
  'expectedStatus',
  'validator',
  'connectTimeoutMs',
  'readTimeoutMs',
  'bodyBytesMax',
  'reuseConnection',
  'portOverride',
  'consecutiveSuccess',
  'consecutiveFailure',
  'healthChangedCallback',
  'backendSummaryCallback',
]

const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/ // RFC 9110 §5.6.2
const PATH = /^\/[\x21\x22\x24-\x7e]*$/

/** Connections kept with `reuseConnection`; further backends are connected to anew each time. */
const CLIENTS_MAX = 1_024

/** A backend is well if it answers an HTTP/1.1 request as expected. Redirects are not followed. */
export class HttpHealthCheck implements HealthCheck {
  readonly consecutiveSuccess: number
  readonly consecutiveFailure: number
  readonly #options: HttpHealthCheckOptions
  readonly #expectedStatuses: readonly number[]
  readonly #connectTimeoutMs: number
  readonly #readTimeoutMs: number
  readonly #bodyBytesMax: number
  readonly #clients: Map<string, Client> = new Map()

  /**
   * @throws {TypeError} If an option is unknown or of the wrong type.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: HttpHealthCheckOptions = {}) {
    onlyKeys('HttpHealthCheck', options, OPTION_NAMES)
    const { expectedStatus = 200, portOverride, headers, tls = false, reuseConnection = false } = options
    if (headers !== undefined) objectOf('headers', headers)
    if (typeof tls !== 'boolean') objectOf('tls', tls)
    booleanOf('reuseConnection', reuseConnection)
    if (typeof expectedStatus !== 'number' && !Array.isArray(expectedStatus)) {
      throw new TypeError(
        `Expected expectedStatus to be a status or a list, received ${show(expectedStatus)}`,
      )
    }
    checkRequest(options)
    for (const name of ['validator', 'healthChangedCallback', 'backendSummaryCallback'] as const) {
      if (options[name] !== undefined) functionOf(name, options[name])
    }
    if (portOverride !== undefined) integerIn('portOverride', portOverride, 1, 65_535)
    this.#options = { ...options }
    this.#expectedStatuses = typeof expectedStatus === 'number' ? [expectedStatus] : [...expectedStatus]
    if (this.#expectedStatuses.length === 0) throw new TypeError('Expected expectedStatus to hold a status')
    for (const status of this.#expectedStatuses) integerIn('expectedStatus', status, 200, 599)
    this.#connectTimeoutMs = milliseconds('connectTimeoutMs', options.connectTimeoutMs ?? 1_000)
    this.#readTimeoutMs = milliseconds('readTimeoutMs', options.readTimeoutMs ?? 1_000)
    this.#bodyBytesMax = integerIn('bodyBytesMax', options.bodyBytesMax ?? 65_536, 0, 1_073_741_824)
    this.consecutiveSuccess = integerIn('consecutiveSuccess', options.consecutiveSuccess ?? 1, 1, 1_000_000)
    this.consecutiveFailure = integerIn('consecutiveFailure', options.consecutiveFailure ?? 1, 1, 1_000_000)
  }

  async check(backend: Backend, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const client = this.#client(backend)
    const timeoutMs = this.#connectTimeoutMs + this.#readTimeoutMs
    const late = `No complete answer from "${backend.address}" within ${timeoutMs} ms`
    try {
      await withDeadline(signal, timeoutMs, late, (deadline) => this.#exchange(client, backend, deadline))
    } finally {
      if (this.#clients.get(backend.address) !== client) client.destroy().catch(() => {})
    }
  }

  healthStatusChange(backend: Backend, healthy: boolean, error: unknown): void {
    this.#options.healthChangedCallback?.(backend, healthy, error)
  }

  backendSummary(backend: Backend): string {
    return this.#options.backendSummaryCallback?.(backend) ?? backend.address
  }

  forget(backend: Backend): void {
    this.#drop(backend.address)
  }

  close(): void {
    for (const address of [...this.#clients.keys()]) this.#drop(address)
  }

  async #exchange(client: Client, backend: Backend, signal: AbortSignal): Promise<void> {
    const { method = 'GET', path = '/', headers = {}, reuseConnection = false, validator } = this.#options
    const response = await client.request({
      method: method as Dispatcher.HttpMethod,
      path,
      headers: { 'user-agent': 'cirque-health-check', ...headers, host: this.#host(backend) },
      headersTimeout: 0,
      bodyTimeout: 0,
      reset: !reuseConnection,
      signal,
    })
    const status = response.statusCode
    const body = await this.#readBody(response.body, validator !== undefined)
    if (validator !== undefined) {
      if (await validator({ status, headers: response.headers, body })) return
      throw new Error(`The validator refused the answer of "${backend.address}" with status ${status}`)
    }
    if (this.#expectedStatuses.includes(status)) return
    throw new Error(`"${backend.address}" answered with status ${status}`)
  }

  async #readBody(body: Dispatcher.ResponseData['body'], whole: boolean): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > this.#bodyBytesMax) {
        if (whole) throw new Error(`The answer is longer than bodyBytesMax, ${this.#bodyBytesMax} bytes`)
        break // leaving the loop cuts the connection
      }
      if (whole) chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  #host(backend: Backend): string {
    const address = backend.addressParsed
    return this.#options.host ?? (address.kind === 'tcp' ? address.text : 'localhost')
  }

  #client(backend: Backend): Client {
    const kept = this.#clients.get(backend.address)
    if (kept !== undefined) return kept
    const client = this.#connectTo(backend)
    if (this.#options.reuseConnection === true && this.#clients.size < CLIENTS_MAX) {
      this.#clients.set(backend.address, client)
    }
    return client
  }

  /** The origin is the host that is asked for; where the bytes go is the backend's address. */
  #connectTo(backend: Backend): Client {
    const { tls = false, portOverride } = this.#options
    const address = backend.addressParsed
    const connector = buildConnector({
      ...(typeof tls === 'object' ? tls : {}),
      ...(address.kind === 'unix' ? { socketPath: address.path } : {}),
      timeout: this.#connectTimeoutMs,
      maxCachedSessions: 0,
    } as buildConnector.BuildOptions)
    const target =
      address.kind === 'tcp' ? { hostname: address.host, port: String(portOverride ?? address.port) } : {}
    const scheme = tls === false ? 'http' : 'https'
    const host = this.#host(backend).replace(/%[^\]]*/, '') // a zone id has no place in a URL
    return new Client(`${scheme}://${host}`, {
      connect: (options, callback) => connector({ ...options, ...target }, callback),
      allowH2: false,
    })
  }

  /** Lets a check under way finish: it may be another balancer's, and has its own time limit. */
  #drop(address: string): void {
    const client = this.#clients.get(address)
    this.#clients.delete(address)
    client?.close().catch(() => {})
  }
}

/** Refuses at construction what could not be sent: every check would fail, and take every backend out. */
function checkRequest({ method, path, host, headers = {} }: HttpHealthCheckOptions): void {
  if (method !== undefined && !(typeof method === 'string' && METHOD.test(method))) {
    throw new TypeError(`Expected method to be a token, received ${show(method)}`)
  }
  if (path !== undefined && !(typeof path === 'string' && PATH.test(path))) {
    const rule = 'begin with "/" and hold no space, control or "#"'
    throw new TypeError(`Expected path to ${rule}, received ${show(path)}`)
  }
  if (host !== undefined && !(typeof host === 'string' && isHost(host))) {
    throw new TypeError(`Expected host to be a host name, received ${show(host)}`)
  }
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name)
    validateHeaderValue(name, value)
  }
}

/** A host with an optional port, and nothing else of a URL. */
function isHost(host: string): boolean {
  return !/[/?#@\\\s]/.test(host) && URL.canParse(`http://${host}`)
}
