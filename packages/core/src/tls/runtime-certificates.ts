import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { integer } from '../listening/listener-options.ts'
import { nameHint } from '../nearest-name.ts'
import { checkIdentity, type TlsIdentity } from './identity.ts'

/**
 * Makes or fetches the identity for a server name that no certificate of the listener names. Undefined: there is none.
 *
 * Called in the middle of a handshake, once for all handshakes that ask for the name at that time. A throw or
 * rejection refuses those handshakes and nothing else.
 *
 * @param serverName - In lower case; only letters, digits, `-`, `_` and single dots. Whether you want to serve the
 *   name is yours to say: any client can ask for any.
 */
export type LoadCertificate = (
  serverName: string,
) => TlsIdentity | undefined | Promise<TlsIdentity | undefined>

/** Bounds of what {@link LoadCertificate} gave. */
export interface RuntimeCertificateOptions {
  /** Certificates kept; the least recently used one goes first. Default 1,000. */
  readonly entriesMax?: number
  /**
   * After this time a certificate is fetched again while the old one still serves, in ms. Default 3,600,000. If that
   * fails the old one stays until it expires.
   */
  readonly refreshMs?: number
  /** How long it is remembered that a name has none, in ms. Default 10,000; 0 asks every time. */
  readonly absentMs?: number
  /** Calls of `loadCertificate` at a time; handshakes that would need one more are refused. Default 100. */
  readonly loadsMax?: number
  /** How long one call may take, in ms; then it has failed. Default 5,000. */
  readonly timeoutMs?: number
}

interface Entry {
  /** Undefined: the name has no certificate. */
  readonly context: SecureContext | undefined
  readonly validToMs: number
  refreshAt: number
}

/** Called once: with a context, with undefined if the name has none, or with an error. */
export type ContextCallback = (error: Error | null, context?: SecureContext) => void

const RETRY_MS: number = 10_000
const OPTION_KEYS: readonly string[] = ['entriesMax', 'refreshMs', 'absentMs', 'loadsMax', 'timeoutMs']

/** Contexts for names that are only known at run time: bounded, and loaded once for all who wait. */
export class RuntimeCertificates {
  readonly #load: LoadCertificate
  readonly #base: SecureContextOptions
  readonly #entriesMax: number
  readonly #refreshMs: number
  readonly #absentMs: number
  readonly #loadsMax: number
  readonly #timeoutMs: number
  /** In the order of their last use. Absent names have a map of their own, lest strangers push real ones out. */
  readonly #entries: Map<string, Entry> = new Map()
  readonly #absent: Map<string, Entry> = new Map()
  readonly #loads: Map<string, ContextCallback[]> = new Map()

  /** @throws {TypeError | RangeError} If an option is unknown or out of bounds. */
  constructor(load: LoadCertificate, base: SecureContextOptions, options: RuntimeCertificateOptions = {}) {
    for (const key of Object.keys(options)) {
      if (!OPTION_KEYS.includes(key)) {
        throw new TypeError(`Unknown option "${key}" of runtimeCertificates${nameHint(key, OPTION_KEYS)}`)
      }
    }
    this.#load = load
    this.#base = base
    this.#entriesMax = integer('entriesMax', options.entriesMax ?? 1_000, 1, 1_000_000)
    this.#refreshMs = integer('refreshMs', options.refreshMs ?? 3_600_000, 1_000, 2_147_483_647)
    this.#absentMs = integer('absentMs', options.absentMs ?? 10_000, 0, 3_600_000)
    this.#loadsMax = integer('loadsMax', options.loadsMax ?? 100, 1, 10_000)
    this.#timeoutMs = integer('timeoutMs', options.timeoutMs ?? 5_000, 1, 600_000)
  }

  /** Finds the context for a name in its normal form, at once or later. */
  find(name: string, callback: ContextCallback): void {
    const now = Date.now()
    const map = this.#entries.has(name) ? this.#entries : this.#absent
    const entry = map.get(name)
    if (entry === undefined || entry.validToMs <= now) {
      this.#wait(name, callback)
      return
    }
    map.delete(name)
    map.set(name, entry)
    if (entry.refreshAt <= now && !this.#loads.has(name) && this.#loads.size < this.#loadsMax) {
      entry.refreshAt = now + RETRY_MS
      this.#start(name, [])
    }
    callback(null, entry.context)
  }

  #wait(name: string, callback: ContextCallback): void {
    const waiting = this.#loads.get(name)
    if (waiting !== undefined)
      waiting.push(callback) // bounded by the connections of the service
    else if (this.#loads.size >= this.#loadsMax) callback(new Error('Too many certificates are being loaded'))
    else this.#start(name, [callback])
  }

  #start(name: string, waiting: ContextCallback[]): void {
    this.#loads.set(name, waiting)
    let isSettled = false
    const settle = (error: Error | null, identity: TlsIdentity | undefined) => {
      if (isSettled) return
      isSettled = true
      clearTimeout(timer)
      this.#loads.delete(name)
      let failure = error
      let context: SecureContext | undefined
      if (failure === null) {
        try {
          context = this.#keep(name, identity)
        } catch (cause) {
          failure = toError(cause)
        }
      }
      for (const callback of waiting) callback(failure, context)
    }
    const timer = setTimeout(
      () => settle(new Error(`No certificate within ${this.#timeoutMs} ms`), undefined),
      this.#timeoutMs,
    ).unref()
    try {
      Promise.resolve(this.#load(name)).then(
        (identity) => settle(null, identity),
        (error: unknown) => settle(toError(error), undefined),
      )
    } catch (error) {
      settle(toError(error), undefined)
    }
  }

  #keep(name: string, identity: TlsIdentity | undefined): SecureContext | undefined {
    const now = Date.now()
    if (identity === undefined || identity === null) {
      this.#entries.delete(name)
      const until = now + this.#absentMs
      put(this.#absent, name, { context: undefined, validToMs: until, refreshAt: until }, this.#entriesMax)
      return undefined
    }
    const checked = checkIdentity(identity)
    if (checked.validToMs <= now) throw new TypeError('The certificate has expired')
    const { cert, key, passphrase } = identity
    const context = createSecureContext({
      ...this.#base,
      cert,
      key,
      ...(passphrase === undefined ? {} : { passphrase }),
    })
    this.#absent.delete(name)
    const refreshAt = now + this.#refreshMs
    put(this.#entries, name, { context, validToMs: checked.validToMs, refreshAt }, this.#entriesMax)
    return context
  }
}

function put(map: Map<string, Entry>, name: string, entry: Entry, entriesMax: number): void {
  map.delete(name)
  if (map.size >= entriesMax) {
    const [oldest] = map.keys()
    if (oldest !== undefined) map.delete(oldest)
  }
  map.set(name, entry)
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`Cannot load a certificate: ${String(thrown)}`)
}
