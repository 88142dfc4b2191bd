import { isIP, isIPv4 } from 'node:net'
import { type Address, parseAddress } from '@cirque/core'
import { integerIn, onlyKeys, show } from './check.ts'
import { STEP_ITEMS, type Steps, sortedPositions } from './steps.ts'

/** What can be said of a backend besides its address. */
export interface BackendOptions {
  /** Share of the traffic in relation to the other weights: an integer from 1 to 65,535. Default 1. */
  readonly weight?: number
  /** Group: 0 is served first, 1 stands in when no backend of group 0 can serve, and so on. 0 to 255, default 0. */
  readonly priority?: number
  /** Most requests in flight, over the balancer's `inFlightMax`. An integer from 1. Default: the balancer's. */
  readonly inFlightMax?: number
  /** Anything you want to find again at the chosen backend, such as zone or version. Default `{}`. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Options to build this backend's peer with, such as `{ tls: true, sni: 'a.example' }`. Default `{}`. */
  readonly peerOptions?: Readonly<Record<string, unknown>>
}

/** What a backend can be given as: itself, or its address. */
export type BackendLike = Backend | string

/** Largest weight of one backend. */
export const WEIGHT_MAX: number = 65_535

const OPTION_NAMES: readonly string[] = ['weight', 'priority', 'inFlightMax', 'metadata', 'peerOptions']
const NOTHING: Readonly<Record<string, unknown>> = Object.freeze({})

/**
 * A candidate for the upstream peer of a request: an address with a weight and whatever you attach to it.
 *
 * Immutable; one object may be part of several balancers. What a balancer learns about it (health, load) is kept
 * by the balancer under `address`, and so survives a discovery update that brings a new object for it.
 *
 * @example
 * new Backend('10.0.0.1:8080', { weight: 3, metadata: { zone: 'a' } })
 */
export class Backend {
  /** `host:port`, `[ipv6]:port` or `unix:/path`, canonical: equal addresses have equal text. */
  readonly address: string
  /** The same, taken apart. */
  readonly addressParsed: Address
  readonly weight: number
  readonly priority: number
  readonly inFlightMax: number | undefined
  readonly metadata: Readonly<Record<string, unknown>>
  readonly peerOptions: Readonly<Record<string, unknown>>

  /**
   * @throws {TypeError} If the address is not valid, or an option is unknown.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(address: string | Address, options: BackendOptions = {}) {
    onlyKeys('Backend', options, OPTION_NAMES)
    this.addressParsed = typeof address === 'string' ? parseAddress(address) : address
    if (typeof this.addressParsed?.text !== 'string') {
      throw new TypeError(`Expected an address, received ${show(address)}`)
    }
    this.address = this.addressParsed.text
    this.weight = integerIn('weight', options.weight ?? 1, 1, WEIGHT_MAX)
    this.priority = integerIn('priority', options.priority ?? 0, 0, 255)
    this.inFlightMax =
      options.inFlightMax === undefined
        ? undefined
        : integerIn('inFlightMax', options.inFlightMax, 1, Number.MAX_SAFE_INTEGER)
    this.metadata = objectOf('metadata', options.metadata)
    this.peerOptions = objectOf('peerOptions', options.peerOptions)
  }

  toString(): string {
    return this.address
  }
}

function objectOf(
  name: string,
  value: Readonly<Record<string, unknown>> | undefined,
): Readonly<Record<string, unknown>> {
  if (value === undefined) return NOTHING
  if (typeof value === 'object' && value !== null) return value
  throw new TypeError(`Expected ${name} to be an object, received ${show(value)}`)
}

/** The backend itself, or a new one of weight 1 for an address. */
export function toBackend(backend: BackendLike): Backend {
  return typeof backend === 'string' ? new Backend(backend) : backend
}

/**
 * Sorts by address, so that what is chosen does not depend on the order that discovery happened to give: IPv4 before
 * IPv6, both by number, then host names, then Unix sockets.
 *
 * @throws {TypeError} If two backends have the same address.
 */
export function* sortBackends(backends: readonly Backend[]): Steps<Backend[]> {
  const keys: string[] = []
  for (const backend of backends) {
    // Not `instanceof`: it would refuse the backends of another installed copy of this package.
    if (typeof backend?.addressParsed?.text !== 'string') {
      throw new TypeError(`Expected a Backend, received ${show(backend)}`)
    }
    keys.push(sortKey(backend.addressParsed))
    if (keys.length % STEP_ITEMS === 0) yield
  }
  const positions = yield* sortedPositions(keys)
  const sorted: Backend[] = []
  for (const position of positions) {
    const backend = backends[position] as Backend
    if (sorted.at(-1)?.address === backend.address) {
      throw new TypeError(`Backend ${show(backend.address)} is listed twice`)
    }
    sorted.push(backend)
  }
  return sorted
}

/** Text whose order is the numeric order of addresses. */
function sortKey(address: Address): string {
  if (address.kind === 'unix') return `3${address.path}`
  const port = String(address.port).padStart(5, '0')
  if (isIPv4(address.host)) return `0${groups(address.host, '.', 10, 3)}:${port}`
  if (isIP(address.host) === 6) return `1${expandIpv6(address.host)}:${port}`
  return `2${address.host}:${port}`
}

function groups(text: string, separator: string, radix: number, width: number): string {
  let key = ''
  for (const group of text.split(separator)) {
    key += Number.parseInt(group, radix).toString(radix).padStart(width, '0')
  }
  return key
}

function expandIpv6(host: string): string {
  const [literal = '', zone = ''] = host.split('%')
  // An embedded IPv4 tail (`::ffff:1.2.3.4`) is two groups more.
  const tail = literal.lastIndexOf(':') + 1
  const text = literal.includes('.') ? literal.slice(0, tail) + ipv4Groups(literal.slice(tail)) : literal
  const [left = '', right] = text.split('::')
  const before = left === '' ? [] : left.split(':')
  const after = right === undefined || right === '' ? [] : right.split(':')
  const zeros = new Array<string>(Math.max(0, 8 - before.length - after.length)).fill('0')
  return groups([...before, ...zeros, ...after].join(':'), ':', 16, 4) + zone
}

function ipv4Groups(text: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number)
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
}
