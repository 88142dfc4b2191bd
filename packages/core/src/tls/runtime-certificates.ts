import { createSecureContext, type SecureContext, type TlsOptions } from 'node:tls'
import { inspect } from 'node:util'
import { integer, rejectUnknown } from '../option-checks.ts'
import { checkIdentity, type TlsIdentity } from './identity.ts'
import { type PolicyPlan, withoutIdentity } from './policies.ts'
import type { LoadedCertificate, RuntimePolicies } from './runtime-policies.ts'

/**
 * Makes or fetches the certificate for a server name that no certificate of the listener names, and what is particular
 * to its clients. Undefined: there is none.
 *
 * Called in the middle of a handshake, once for all handshakes that ask for the name at that time. A throw or
 * rejection refuses those handshakes and nothing else, and so does a result that cannot be used, which the log names.
 *
 * @param serverName - In lower case; only letters, digits, `-`, `_` and single dots. Whether you want to serve the
 *   name is yours to say: any client can ask for any.
 */
export type LoadCertificate = (
  serverName: string,
) => LoadedCertificate | undefined | Promise<LoadedCertificate | undefined>

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
  /**
   * Whether what `loadCertificate` gives may have `alpnProtocols` and `clientCertificates`. Each name is then asked
   * for before its handshake begins, resumed ones included. Default false.
   */
  readonly perNamePolicies?: boolean
}

/** What is known of a name. */
interface RuntimeEntry {
  /** Undefined: the name has no certificate. */
  readonly context: SecureContext | undefined
  readonly policy: PolicyPlan
}

interface Entry extends RuntimeEntry {
  readonly identity: TlsIdentity | undefined
  /** Those of the policy, as they were when the context was made. */
  readonly tls: TlsOptions
  readonly validToMs: number
  refreshAt: number
}

/** Called once: with what is known of the name, or with an error. */
export type EntryCallback = (error: Error | null, entry?: RuntimeEntry) => void

const RETRY_MS: number = 10_000
const OPTION_KEYS: readonly string[] = [
  'entriesMax',
  'refreshMs',
  'absentMs',
  'loadsMax',
  'timeoutMs',
  'perNamePolicies',
]

/** Contexts for names that are only known at run time: bounded, and loaded once for all who wait. */
export class RuntimeCertificates {
  readonly #load: LoadCertificate
  readonly #policies: RuntimePolicies
  readonly perNamePolicies: boolean
  readonly #entriesMax: number
  readonly #refreshMs: number
  readonly #absentMs: number
  readonly #loadsMax: number
  readonly #timeoutMs: number
  /** In the order of their last use. Absent names have a map of their own, lest strangers push real ones out. */
  readonly #entries: Map<string, Entry> = new Map()
  readonly #absent: Map<string, Entry> = new Map()
  readonly #loads: Map<string, EntryCallback[]> = new Map()

  /** @throws {TypeError | RangeError} If an option is unknown or out of bounds. */
  constructor(load: LoadCertificate, policies: RuntimePolicies, options: RuntimeCertificateOptions = {}) {
    rejectUnknown(options, OPTION_KEYS, 'runtimeCertificates')
    this.#load = load
    this.#policies = policies
    const { perNamePolicies = false } = options
    if (typeof perNamePolicies !== 'boolean') {
      throw new TypeError(
        `Expected perNamePolicies to be true or false, received ${inspect(perNamePolicies)}`,
      )
    }
    this.perNamePolicies = perNamePolicies
    this.#entriesMax = integer('entriesMax', options.entriesMax ?? 1_000, 1, 1_000_000)
    this.#refreshMs = integer('refreshMs', options.refreshMs ?? 3_600_000, 1_000, 2_147_483_647)
    this.#absentMs = integer('absentMs', options.absentMs ?? 10_000, 0, 3_600_000)
    this.#loadsMax = integer('loadsMax', options.loadsMax ?? 100, 1, 10_000)
    this.#timeoutMs = integer('timeoutMs', options.timeoutMs ?? 5_000, 1, 600_000)
  }

  /** The policy of a name, if it is known; nothing is loaded for that. */
  policyOf(name: string): PolicyPlan | undefined {
    return (this.#entries.get(name) ?? this.#absent.get(name))?.policy
  }

  /** Finds what there is for a name in its normal form, at once or later. */
  find(name: string, callback: EntryCallback): void {
    const now = Date.now()
    const map = this.#entries.has(name) ? this.#entries : this.#absent
    let entry = map.get(name)
    if (entry === undefined || entry.validToMs <= now) {
      this.#wait(name, callback)
      return
    }
    try {
      if (entry.tls !== entry.policy.tls) entry = renewed(entry)
    } catch (error) {
      callback(toError(error))
      return
    }
    map.delete(name)
    map.set(name, entry)
    if (entry.refreshAt <= now && !this.#loads.has(name) && this.#loads.size < this.#loadsMax) {
      entry.refreshAt = now + RETRY_MS
      this.#start(name, [])
    }
    callback(null, entry)
  }

  /** The same, once more in one handshake: a name that was found to have none stays so. */
  findAgain(name: string, callback: EntryCallback): void {
    const absent = this.#entries.has(name) ? undefined : this.#absent.get(name)
    if (absent === undefined) this.find(name, callback)
    else callback(null, absent)
  }

  #wait(name: string, callback: EntryCallback): void {
    const waiting = this.#loads.get(name)
    if (waiting !== undefined)
      waiting.push(callback) // bounded by the connections of the service
    else if (this.#loads.size >= this.#loadsMax) callback(new Error('Too many certificates are being loaded'))
    else this.#start(name, [callback])
  }

  #start(name: string, waiting: EntryCallback[]): void {
    this.#loads.set(name, waiting)
    let isSettled = false
    const settle = (error: Error | null, loaded: LoadedCertificate | undefined) => {
      if (isSettled) return
      isSettled = true
      clearTimeout(timer)
      this.#loads.delete(name)
      let failure = error
      let entry: Entry | undefined
      if (failure === null) {
        try {
          entry = this.#keep(name, loaded)
        } catch (cause) {
          failure = toError(cause)
        }
      }
      for (const callback of waiting) callback(failure, entry)
    }
    const timer = setTimeout(
      () => settle(new Error(`No certificate within ${this.#timeoutMs} ms`), undefined),
      this.#timeoutMs,
    ).unref()
    try {
      Promise.resolve(this.#load(name)).then(
        (loaded) => settle(null, loaded),
        (error: unknown) => settle(toError(error), undefined),
      )
    } catch (error) {
      settle(toError(error), undefined)
    }
  }

  #keep(name: string, loaded: LoadedCertificate | undefined): Entry {
    const now = Date.now()
    if (loaded === undefined || loaded === null) {
      this.#forget(this.#entries, name)
      const until = now + this.#absentMs
      const policy = this.#policies.fallback
      const absent = { context: undefined, identity: undefined, policy, tls: policy.tls }
      return this.#put(this.#absent, name, { ...absent, validToMs: until, refreshAt: until })
    }
    if (typeof loaded !== 'object') {
      throw new TypeError(
        `Expected { cert, key } of loadCertificate for "${name}", received ${inspect(loaded)}`,
      )
    }
    const policy = this.#policies.acquire(loaded, name, this.perNamePolicies)
    try {
      const { cert, key, passphrase } = loaded
      const identity = { cert, key, ...(passphrase === undefined ? {} : { passphrase }) }
      const { validToMs } = checkIdentity(identity)
      if (validToMs <= now) throw new TypeError('The certificate has expired')
      const context = contextOf(policy, identity)
      this.#absent.delete(name)
      const refreshAt = now + this.#refreshMs
      return this.#put(this.#entries, name, {
        context,
        identity,
        policy,
        tls: policy.tls,
        validToMs,
        refreshAt,
      })
    } catch (error) {
      this.#policies.release(policy)
      throw error
    }
  }

  #put(map: Map<string, Entry>, name: string, entry: Entry): Entry {
    this.#forget(map, name)
    if (map.size >= this.#entriesMax) {
      const [oldest] = map.keys()
      if (oldest !== undefined) this.#forget(map, oldest)
    }
    map.set(name, entry)
    return entry
  }

  #forget(map: Map<string, Entry>, name: string): void {
    const entry = map.get(name)
    if (entry === undefined) return
    map.delete(name)
    this.#policies.release(entry.policy)
  }
}

/** The files that its policy follows have changed. */
function renewed(entry: Entry): Entry {
  const { policy, identity } = entry
  return {
    ...entry,
    context: identity === undefined ? undefined : contextOf(policy, identity),
    tls: policy.tls,
  }
}

function contextOf({ tls }: PolicyPlan, identity: TlsIdentity): SecureContext {
  return createSecureContext({ ...withoutIdentity(tls), ...identity })
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`Cannot load a certificate: ${String(thrown)}`)
}
