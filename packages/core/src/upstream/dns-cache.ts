import { lookup, Resolver } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { timeout } from '@cirque/timeout'
import { nameHint } from '../nearest-name.ts'
import { requireFunction, requireOptions } from '../option-checks.ts'

/** One resolved address. */
export interface ResolvedAddress {
  readonly address: string
  readonly family: 4 | 6
}

/** How names of peers are resolved and remembered. */
export interface DnsCacheOptions {
  /** How long an answer holds when the name server told no time to live, in milliseconds. Default 30,000. */
  readonly ttlDefaultMs?: number
  /** No answer is asked for again sooner, in milliseconds. Default 1,000. */
  readonly ttlMinMs?: number
  /** No answer is kept longer, in milliseconds. Default 300,000. */
  readonly ttlMaxMs?: number
  /** How long an expired answer still serves while the name servers fail, in milliseconds. Default 300,000. */
  readonly staleMaxMs?: number
  /** How long a failure is remembered, in milliseconds. Default 1,000. */
  readonly negativeTtlMs?: number
  /** How long one resolution may take, in milliseconds; then it has failed. Default 10,000. */
  readonly resolveTimeoutMs?: number
  /** How many names are kept; the least recently used one goes first. Default 1,024. */
  readonly entriesMax?: number
  /** Resolves a name; default: the system's resolver (`getaddrinfo`), with the TTL asked of the name servers beside it. */
  readonly resolve?: (host: string) => Promise<ResolveAnswer>
}

/** What a resolver found. */
export interface ResolveAnswer {
  readonly addresses: readonly ResolvedAddress[]
  /** In milliseconds; undefined when it is not known. */
  readonly ttlMs?: number
}

interface Entry {
  addresses: readonly ResolvedAddress[]
  expiresAt: number
  /** Until when the addresses serve while they cannot be resolved anew. */
  staleUntil: number
  /** The failure, while it is remembered. */
  error: Error | null
  pending: Promise<readonly ResolvedAddress[]> | null
}

const DEFAULTS = {
  ttlDefaultMs: 30_000,
  ttlMinMs: 1_000,
  ttlMaxMs: 300_000,
  staleMaxMs: 300_000,
  negativeTtlMs: 1_000,
  resolveTimeoutMs: 10_000,
  entriesMax: 1_024,
}

const INTEGER_MAX = 2 ** 31 - 1

/** Resolves names once per time to live; concurrent look-ups of a name share one query. */
export class DnsCache {
  readonly #options: typeof DEFAULTS
  readonly #resolve: ((host: string) => Promise<ResolveAnswer>) | undefined
  readonly #entries: Map<string, Entry> = new Map()
  readonly #ttlResolver: Resolver = new Resolver({ timeout: 1_000, tries: 1 })

  /** @throws {TypeError} For an unknown option. @throws {RangeError} For a number out of bounds. */
  constructor(options: DnsCacheOptions = {}) {
    requireOptions(options, 'the DNS cache')
    const { resolve, ...numbers } = options
    requireFunction('resolve of the DNS cache', resolve)
    this.#resolve = resolve
    const given = Object.entries(numbers).filter(([, value]) => value !== undefined)
    this.#options = { ...DEFAULTS, ...Object.fromEntries(given) }
    for (const [name, value] of Object.entries(this.#options)) {
      if (!Object.hasOwn(DEFAULTS, name)) {
        throw new TypeError(
          `Unknown DNS cache option "${name}"${nameHint(name, ['resolve', ...Object.keys(DEFAULTS)])}`,
        )
      }
      const least = name === 'entriesMax' || name === 'resolveTimeoutMs' ? 1 : 0
      if (!Number.isInteger(value) || value < least || value > INTEGER_MAX) {
        throw new RangeError(
          `DNS cache option "${name}" must be an integer from ${least} to ${INTEGER_MAX}, not ${value}`,
        )
      }
    }
  }

  /** How many names are kept. */
  get size(): number {
    return this.#entries.size
  }

  /** The addresses of `host`; rejects with the resolver's error. */
  resolve(host: string): Promise<readonly ResolvedAddress[]> {
    const family = isIP(host)
    if (family !== 0) return Promise.resolve([{ address: host, family: family as 4 | 6 }])
    const now = performance.now()
    const entry = this.#entries.get(host)
    if (entry !== undefined) {
      this.#entries.delete(host)
      this.#entries.set(host, entry)
      if (entry.pending !== null) return entry.pending
      if (now < entry.expiresAt) {
        return entry.error === null ? Promise.resolve(entry.addresses) : Promise.reject(entry.error)
      }
    }
    return this.#refresh(host, entry ?? this.#add(host))
  }

  /** For the `lookup` option of `net.connect`. */
  readonly lookupFunction: LookupFunction = (hostname, options, callback) => {
    this.resolve(hostname).then(
      (addresses) => {
        const { family } = options
        const wanted =
          family === 4 || family === 6 ? addresses.filter((one) => one.family === family) : addresses
        const first = wanted[0]
        if (first === undefined) {
          callback(Object.assign(new Error(`No address of ${hostname}`), { code: 'ENOTFOUND' }), '', 4)
        } else if (options.all === true) {
          callback(null, [...wanted] as { address: string; family: number }[])
        } else callback(null, first.address, first.family)
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 4),
    )
  }

  #add(host: string): Entry {
    for (const [name, entry] of this.#entries) {
      if (this.#entries.size < this.#options.entriesMax) break
      if (entry.pending === null) this.#entries.delete(name)
    }
    const entry: Entry = { addresses: [], expiresAt: 0, staleUntil: 0, error: null, pending: null }
    // All others are being asked for: this one is not kept, nor shared with who wants it meanwhile.
    if (this.#entries.size < this.#options.entriesMax) this.#entries.set(host, entry)
    return entry
  }

  #refresh(host: string, entry: Entry): Promise<readonly ResolvedAddress[]> {
    entry.pending = this.#query(host, entry).catch((error: Error) => {
      const now = performance.now()
      entry.pending = null
      entry.expiresAt = now + this.#options.negativeTtlMs
      if (entry.addresses.length > 0 && now < entry.staleUntil) return entry.addresses
      entry.error = error
      throw error
    })
    return entry.pending
  }

  async #query(host: string, entry: Entry): Promise<readonly ResolvedAddress[]> {
    const answer = await timeout(this.#resolve?.(host) ?? systemResolve(host), this.#options.resolveTimeoutMs)
    if (answer.addresses.length === 0)
      throw Object.assign(new Error(`No address of ${host}`), { code: 'ENOTFOUND' })
    entry.addresses = answer.addresses
    entry.error = null
    entry.pending = null
    entry.expiresAt = performance.now() + this.#bounded(answer.ttlMs ?? this.#options.ttlDefaultMs)
    entry.staleUntil = entry.expiresAt + this.#options.staleMaxMs
    if (answer.ttlMs === undefined && this.#resolve === undefined) this.#learnTtl(host, entry)
    return entry.addresses
  }

  #bounded(ttlMs: number): number {
    return Math.min(Math.max(ttlMs, this.#options.ttlMinMs), this.#options.ttlMaxMs)
  }

  /** `getaddrinfo` obeys the system's settings but tells no TTL; the name servers are asked for it beside. */
  #learnTtl(host: string, entry: Entry): void {
    if (!host.includes('.')) return
    const resolvedAt = performance.now()
    const resolver = this.#ttlResolver
    const ask =
      entry.addresses[0]?.family === 6
        ? resolver.resolve6(host, { ttl: true })
        : resolver.resolve4(host, { ttl: true })
    ask.then(
      (records) => {
        const seconds = Math.min(...records.map((record) => record.ttl))
        if (entry.pending === null && Number.isFinite(seconds)) {
          entry.expiresAt = resolvedAt + this.#bounded(seconds * 1_000)
          entry.staleUntil = entry.expiresAt + this.#options.staleMaxMs
        }
      },
      () => {
        // No name server, or the name comes from the hosts file: the default holds.
      },
    )
  }
}

async function systemResolve(host: string): Promise<ResolveAnswer> {
  const addresses = await lookup(host, { all: true })
  return { addresses: addresses as ResolvedAddress[] }
}
