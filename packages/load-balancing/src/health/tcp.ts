import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls'
import type { Address } from '@cirque/core'
import type { Backend } from '../backend.ts'
import { functionOf, integerIn, milliseconds, objectOf, onlyKeys } from '../check.ts'
import type { HealthCheck } from './health-check.ts'

/** Options of {@link TcpHealthCheck}. */
export interface TcpHealthCheckOptions {
  /** Time for the connection and, with `tls`, its handshake. Milliseconds, from 1. Default 1,000. */
  readonly connectTimeoutMs?: number
  /** Successes in a row that make a backend healthy again. From 1. Default 1. */
  readonly consecutiveSuccess?: number
  /** Failures in a row that make a backend unhealthy. From 1. Default 1. */
  readonly consecutiveFailure?: number
  /**
   * Also complete a TLS handshake and verify the certificate, with these options of `tls.connect`, such as
   * `{ servername: 'one.one.one.one' }`. Default: no TLS.
   */
  readonly tls?: ConnectionOptions
  /** Check this port instead of the backend's. 1 to 65,535; no effect on Unix sockets. */
  readonly portOverride?: number
  /** Called after a backend's health flipped. Must not throw. */
  readonly healthChangedCallback?: (backend: Backend, healthy: boolean, error: unknown) => void
}

const OPTION_NAMES: readonly string[] = [
  'connectTimeoutMs',
  'consecutiveSuccess',
  'consecutiveFailure',
  'tls',
  'portOverride',
  'healthChangedCallback',
]

/** A backend is well if it accepts a connection. The connection is always new, and closed at once. */
export class TcpHealthCheck implements HealthCheck {
  readonly consecutiveSuccess: number
  readonly consecutiveFailure: number
  readonly #connectTimeoutMs: number
  readonly #tls: ConnectionOptions | undefined
  readonly #portOverride: number | undefined
  readonly #callback: TcpHealthCheckOptions['healthChangedCallback']

  /**
   * @throws {TypeError} If an option is unknown or of the wrong type.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(options: TcpHealthCheckOptions = {}) {
    onlyKeys('TcpHealthCheck', options, OPTION_NAMES)
    this.consecutiveSuccess = integerIn('consecutiveSuccess', options.consecutiveSuccess ?? 1, 1, 1_000_000)
    this.consecutiveFailure = integerIn('consecutiveFailure', options.consecutiveFailure ?? 1, 1, 1_000_000)
    this.#connectTimeoutMs = milliseconds('connectTimeoutMs', options.connectTimeoutMs ?? 1_000)
    this.#tls = options.tls === undefined ? undefined : objectOf('tls', options.tls)
    this.#portOverride =
      options.portOverride === undefined
        ? undefined
        : integerIn('portOverride', options.portOverride, 1, 65_535)
    this.#callback =
      options.healthChangedCallback === undefined
        ? undefined
        : functionOf('healthChangedCallback', options.healthChangedCallback)
  }

  check(backend: Backend, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (signal.aborted) {
      reject(signal.reason)
      return promise
    }
    let socket: Socket
    try {
      socket = this.#open(backend.addressParsed)
    } catch (error) {
      reject(error)
      return promise
    }
    const fail = (error: unknown) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      reject(error)
      socket.destroy()
    }
    const onAbort = () => fail(signal.reason)
    const timer = setTimeout(() => {
      fail(new Error(`Cannot connect to "${backend.address}" within ${this.#connectTimeoutMs} ms`))
    }, this.#connectTimeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    // Stays on: the reset that may follow our close must not become an uncaught error.
    socket.on('error', fail)
    socket.once('close', () => fail(new Error(`Connection to "${backend.address}" was closed`)))
    socket.once(this.#tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      resolve()
      // Flushes the end of the handshake first: the backend would otherwise log a broken one for each check.
      socket.destroySoon()
    })
    return promise
  }

  healthStatusChange(backend: Backend, healthy: boolean, error: unknown): void {
    this.#callback?.(backend, healthy, error)
  }

  #open(address: Address): Socket {
    const target =
      address.kind === 'unix'
        ? { path: address.path }
        : { host: address.host, port: this.#portOverride ?? address.port }
    if (this.#tls === undefined) return connect(target)
    // A literal must not be sent as server name (RFC 6066 §3).
    const name = address.kind === 'tcp' && isIP(address.host) === 0 ? { servername: address.host } : {}
    return tlsConnect({ ...name, ...this.#tls, ...target })
  }
}
