import { Resolver } from 'node:dns/promises'
import { parseAddress } from '@cirque/core'
import { Backend } from '../backend.ts'
import { functionOf, milliseconds, onlyKeys, show } from '../check.ts'
import type { Discovery, DiscoveryResult } from './discovery.ts'

/** An address record. */
export interface AddressRecord {
  readonly address: string
  /** Seconds. */
  readonly ttl: number
}

/** A service record (RFC 2782). */
export interface ServiceRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/** How names are looked up. `node:dns/promises` fits; so does your own cache, or a table in a test. */
export interface DnsLookup {
  resolve4(host: string, options: { readonly ttl: true }): Promise<readonly AddressRecord[]>
  resolve6(host: string, options: { readonly ttl: true }): Promise<readonly AddressRecord[]>
  resolveSrv(name: string): Promise<readonly ServiceRecord[]>
  /** Ends the look-ups under way. */
  cancel?(): void
}

/** Options that {@link DnsDiscovery} and {@link SrvDiscovery} share. */
export interface DnsOptions {
  /**
   * Which records to ask for. Default `[4, 6]`: a family that has none is fine if the other has some, but a look-up
   * that fails (timeout, SERVFAIL) fails the update, so that a hiccup does not halve the set.
   */
  readonly families?: readonly (4 | 6)[]
  /** A shorter time to live is taken as this. Milliseconds, from 1. Default 1,000. */
  readonly ttlMinMs?: number
  /** A longer time to live is taken as this. Milliseconds. Default 300,000. */
  readonly ttlMaxMs?: number
  /** Default: a `Resolver` of Node, which asks the system's DNS servers and does not read `/etc/hosts`. */
  readonly lookup?: DnsLookup
}

const OPTION_NAMES: readonly string[] = ['families', 'ttlMinMs', 'ttlMaxMs', 'lookup']
const NO_RECORDS: ReadonlySet<string> = new Set(['ENODATA', 'ENOTFOUND'])

/** The addresses of a host name, all on one port and of one weight; asked again when the records' time is over. */
export class DnsDiscovery implements Discovery {
  readonly #host: string
  readonly #port: number
  readonly #addresses: AddressLookup

  /**
   * @param hostAndPort - Such as `api.internal:8080`.
   * @throws {TypeError} If it is not a host and a port, or an option is not valid.
   */
  constructor(hostAndPort: string, options: DnsOptions = {}) {
    onlyKeys('DnsDiscovery', options, OPTION_NAMES)
    const address = parseAddress(hostAndPort)
    if (address.kind !== 'tcp') throw new TypeError(`Expected host:port, received ${show(hostAndPort)}`)
    this.#host = address.host
    this.#port = address.port
    this.#addresses = new AddressLookup(options)
  }

  async discover(signal: AbortSignal): Promise<DiscoveryResult> {
    const { addresses, ttlMs } = await this.#addresses.resolve(this.#host, signal)
    return { backends: addresses.map((address) => join(address, this.#port)), ttlMs }
  }
}

/** Options of {@link SrvDiscovery}. */
export interface SrvDiscoveryOptions extends DnsOptions {
  /** Node does not tell the time to live of service records, so they are asked for this often. Default 30,000. */
  readonly refreshMs?: number
}

/** Targets of a service that are looked up; more are refused. */
const TARGETS_MAX = 1_024

/** Targets looked up at a time. */
const TARGETS_PARALLEL = 16

/**
 * The targets of a DNS service such as `_http._tcp.api.internal`: their priorities become priority groups, in order,
 * and each address of a target gets the target's weight (0 counts as 1).
 */
export class SrvDiscovery implements Discovery {
  readonly #name: string
  readonly #refreshMs: number
  readonly #addresses: AddressLookup

  /**
   * @throws {TypeError} If the name is empty, or an option is not valid.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(name: string, options: SrvDiscoveryOptions = {}) {
    onlyKeys('SrvDiscovery', options, [...OPTION_NAMES, 'refreshMs'])
    if (typeof name !== 'string' || name === '') {
      throw new TypeError(`Expected a service name such as _http._tcp.example.com, received ${show(name)}`)
    }
    this.#name = name
    this.#refreshMs = milliseconds('refreshMs', options.refreshMs ?? 30_000)
    this.#addresses = new AddressLookup(options)
  }

  async discover(signal: AbortSignal): Promise<DiscoveryResult> {
    const records = await this.#addresses.services(this.#name, signal)
    // A single target "." says that the service is decidedly not available (RFC 2782).
    const targets = records.filter(({ name }) => name !== '' && name !== '.')
    if (targets.length === 0) throw new Error(`Service "${this.#name}" has no targets`)
    if (targets.length > TARGETS_MAX) {
      throw new RangeError(`Service "${this.#name}" has ${targets.length} targets, more than ${TARGETS_MAX}`)
    }
    const priorities = [...new Set(targets.map(({ priority }) => priority))].sort((a, b) => a - b)
    const backends = new Map<string, Backend>()
    let ttlMs = this.#refreshMs
    let failure: unknown
    for (let start = 0; start < targets.length; start += TARGETS_PARALLEL) {
      const some = targets.slice(start, start + TARGETS_PARALLEL)
      const found = await Promise.allSettled(some.map(({ name }) => this.#addresses.resolve(name, signal)))
      for (const [index, result] of found.entries()) {
        if (result.status === 'rejected') {
          failure ??= result.reason
          continue
        }
        const { port, weight, priority } = some[index] as ServiceRecord
        const options = { weight: Math.max(1, weight), priority: Math.min(255, priorities.indexOf(priority)) }
        ttlMs = Math.min(ttlMs, result.value.ttlMs)
        for (const address of result.value.addresses) {
          const backend = new Backend(join(address, port), options)
          const known = backends.get(backend.address)
          if (known === undefined || known.priority > backend.priority) backends.set(backend.address, backend)
        }
      }
    }
    // A target that is not found is left out; one that could not be asked for spoils the answer.
    if (failure !== undefined && (backends.size === 0 || !hasNoRecords(failure))) throw failure
    return { backends: [...backends.values()], ttlMs }
  }
}

/** Looks up the addresses of names. */
class AddressLookup {
  readonly #families: readonly (4 | 6)[]
  readonly #ttlMinMs: number
  readonly #ttlMaxMs: number
  readonly #lookup: DnsLookup | undefined

  constructor(options: DnsOptions) {
    const { families = [4, 6], lookup } = options
    if (
      !Array.isArray(families) ||
      families.length === 0 ||
      families.some((family) => family !== 4 && family !== 6)
    ) {
      throw new TypeError(`Expected families to be of 4 and 6, received ${show(families)}`)
    }
    if (lookup !== undefined) functionOf('lookup.resolve4', lookup.resolve4)
    this.#families = [...new Set(families)]
    this.#ttlMinMs = milliseconds('ttlMinMs', options.ttlMinMs ?? 1_000)
    this.#ttlMaxMs = milliseconds('ttlMaxMs', options.ttlMaxMs ?? 300_000, this.#ttlMinMs)
    this.#lookup = lookup
  }

  async resolve(host: string, signal: AbortSignal): Promise<{ addresses: string[]; ttlMs: number }> {
    const results = await this.#withLookup(signal, (lookup) =>
      Promise.allSettled(
        this.#families.map((family) =>
          family === 4 ? lookup.resolve4(host, { ttl: true }) : lookup.resolve6(host, { ttl: true }),
        ),
      ),
    )
    const addresses = new Set<string>()
    let ttlMs = this.#ttlMaxMs
    let missing: unknown
    for (const result of results) {
      if (result.status === 'rejected') {
        if (!hasNoRecords(result.reason)) throw result.reason
        missing = result.reason
        continue
      }
      for (const { address, ttl } of result.value) {
        addresses.add(address)
        ttlMs = Math.min(ttlMs, Math.max(ttl * 1_000, this.#ttlMinMs))
      }
    }
    if (addresses.size === 0) throw missing ?? new Error(`"${host}" has no addresses`)
    return { addresses: [...addresses], ttlMs }
  }

  services(name: string, signal: AbortSignal): Promise<readonly ServiceRecord[]> {
    return this.#withLookup(signal, (lookup) => lookup.resolveSrv(name))
  }

  /** A resolver of its own for each look-up, so that cancelling ends that one only. */
  async #withLookup<T>(signal: AbortSignal, run: (lookup: DnsLookup) => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    const lookup = this.#lookup ?? new Resolver({ timeout: 2_000, tries: 2 })
    const onAbort = () => lookup.cancel?.()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await run(lookup)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

function hasNoRecords(error: unknown): boolean {
  return NO_RECORDS.has((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

function join(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
