import { crc32 } from './crc32.ts'
import { buildRing, type Ring, type Source } from './ring.ts'
import { hashInput } from './server-name.ts'

/** A server to place on the ring. */
export interface Bucket {
  /**
   * The server, spelled as in the `server` directive of nginx: `host:port`, `host`, `[ipv6]:port`, `unix:/path`.
   * The text itself is hashed, so `localhost:80` and `127.0.0.1:80` own different points, and so do
   * `10.0.0.1` and `10.0.0.1:80`.
   */
  readonly address: string
  /** Share of the keys in relation to the other weights; an integer from 1, 1 by default. */
  readonly weight?: number
}

/** Options of {@link Continuum}. */
export interface ContinuumOptions {
  /** Points for each unit of weight; an integer from 1. Default 160, the number of nginx: change it and the choice is no longer nginx's. */
  readonly pointsPerWeight?: number
  /** Most points in all; more throws a `RangeError`. Default 4,194,304 (26,214 units of weight): at most 59 MB, twice that while building. */
  readonly pointCountMax?: number
  /** Whether the square brackets of IPv6 are hashed. Default true, as in nginx; false is what pingora-ketama does. */
  readonly ipv6Brackets?: boolean
}

/** Options of {@link buildContinuum}. */
export interface BuildOptions extends ContinuumOptions {
  /** Ends the build; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/** Options of {@link Continuum.nodes}. */
export interface NodesOptions {
  /** True, the default: each server once. False: each point once, so servers repeat as they do in nginx's retries. */
  readonly unique?: boolean
}

const POINTS_PER_WEIGHT = 160
const POINT_COUNT_MAX = 4_194_304

/** How long `buildContinuum` may hold the event loop at a time. */
const SLICE_MS = 2

let adopt: (continuum: Continuum, addresses: readonly string[], ring: Ring) => void

/**
 * A consistent-hash ring that chooses what `hash … consistent` of nginx chooses, for every key.
 *
 * Immutable: build a new one when the servers change. Memory is 10 to 14 bytes per point (hash 4, server 2, or 4
 * above 65,536 servers, directory 2 to 4, rounded) and no object per point. A look-up is one CRC-32 of the key and a
 * search in a few neighbouring points; it allocates nothing.
 *
 * @example
 * const ring = new Continuum([{ address: '10.0.0.1:80' }, { address: '10.0.0.2:80', weight: 2 }])
 * ring.node('/some/path') // '10.0.0.2:80'
 */
export class Continuum {
  #addresses: readonly string[]
  #hashes: Uint32Array
  #nodes: Uint16Array | Uint32Array
  #directory: Uint32Array
  #shift: number
  #reachableCount: number

  static {
    adopt = (continuum, addresses, ring) => {
      continuum.#addresses = addresses
      continuum.#hashes = ring.hashes
      continuum.#nodes = ring.nodes
      continuum.#directory = ring.directory
      continuum.#shift = ring.shift
      continuum.#reachableCount = ring.reachableCount
    }
  }

  /**
   * Builds the ring at once: about 1 ms for 100 servers, but tens of milliseconds from some thousand servers on;
   * `buildContinuum` does the same without holding the event loop.
   *
   * @throws {TypeError} If an address is not a non-empty string.
   * @throws {RangeError} If a weight or an option is out of range, or the points exceed `pointCountMax`.
   */
  constructor(buckets: readonly Bucket[], options: ContinuumOptions = {}) {
    const ring = runAtOnce(buildRing(readSources(buckets, options)))
    this.#addresses = Object.freeze(buckets.map((bucket) => bucket.address))
    this.#hashes = ring.hashes
    this.#nodes = ring.nodes
    this.#directory = ring.directory
    this.#shift = ring.shift
    this.#reachableCount = ring.reachableCount
  }

  /** The servers in the order given; `nodeIndex` counts in it. */
  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** Points on the ring; equal hashes count once. */
  get pointCount(): number {
    return this.#hashes.length
  }

  /** Bytes that the ring's arrays hold. */
  get byteLength(): number {
    return this.#hashes.byteLength + this.#nodes.byteLength + this.#directory.byteLength
  }

  /**
   * The server for `key`, or `undefined` when there are no servers.
   *
   * @param key - Hashed as UTF-8 if a string; pass bytes for anything else, such as a raw URI.
   * @throws {TypeError} If it is neither, here and in the other look-ups. Write `String(id)` for a number.
   */
  node(key: string | Uint8Array): string | undefined {
    const point = this.pointIndex(key)
    return point === undefined ? undefined : this.#addresses[this.#nodes[point] as number]
  }

  /** The position in `addresses` of the server for `key`, or `undefined` when there are no servers. */
  nodeIndex(key: string | Uint8Array): number | undefined {
    const point = this.pointIndex(key)
    return point === undefined ? undefined : this.#nodes[point]
  }

  /**
   * Where `key` falls on the ring: the first point at or after its hash, the first of all past the end.
   *
   * With `nodeIndexAt` this walks the ring without an iterator: add one, and start over at `pointCount`.
   */
  pointIndex(key: string | Uint8Array): number | undefined {
    return this.pointIndexOfHash(crc32(key))
  }

  /**
   * As `pointIndex` for a hash that you already have.
   *
   * @param value - The CRC-32 of a key, an integer from 0 to 2^32 − 1; anything else is taken modulo 2^32.
   */
  pointIndexOfHash(value: number): number | undefined {
    const hashes = this.#hashes
    if (hashes.length === 0) return undefined
    const hash = value >>> 0
    const prefix = hash >>> this.#shift
    let low = this.#directory[prefix] as number
    let high = this.#directory[prefix + 1] as number
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((hashes[middle] as number) < hash) low = middle + 1
      else high = middle
    }
    return low === hashes.length ? 0 : low
  }

  /** The position in `addresses` of the server that owns a point; `undefined` outside 0 … `pointCount` − 1. */
  nodeIndexAt(pointIndex: number): number | undefined {
    return this.#nodes[pointIndex]
  }

  /**
   * The servers for `key` in the order to try them: the first is `node(key)`, the next take over when it is down.
   *
   * Ends after each server came once (or, with `unique: false`, each point), so a loop over it always ends.
   */
  *nodes(key: string | Uint8Array, options: NodesOptions = {}): Generator<string, void, void> {
    for (const index of this.nodeIndices(key, options)) yield this.#addresses[index] as string
  }

  /** As `nodes`, but positions in `addresses`. */
  *nodeIndices(key: string | Uint8Array, options: NodesOptions = {}): Generator<number, void, void> {
    const first = this.pointIndex(key)
    if (first === undefined) return
    const nodes = this.#nodes
    const unique = options.unique ?? true
    const seen = unique ? new Uint8Array(this.#addresses.length) : null
    let left = unique ? this.#reachableCount : nodes.length
    for (let point = first; left > 0; point = point + 1 === nodes.length ? 0 : point + 1) {
      const node = nodes[point] as number
      if (seen !== null) {
        if (seen[node] === 1) continue
        seen[node] = 1
      }
      left--
      yield node
    }
  }
}

/**
 * Builds the same ring as `new Continuum`, but lets the event loop run every 2 ms: for thousands of servers.
 *
 * Rejects with what the constructor would throw, or with the signal's reason.
 */
export async function buildContinuum(
  buckets: readonly Bucket[],
  options: BuildOptions = {},
): Promise<Continuum> {
  options.signal?.throwIfAborted()
  // A copy: the caller may change its list while this waits.
  const copy = Array.isArray(buckets) ? buckets.map((bucket: Bucket) => ({ ...bucket })) : buckets
  const steps = buildRing(readSources(copy, options))
  let pauseAt = performance.now() + SLICE_MS
  let step = steps.next()
  while (step.done !== true) {
    if (performance.now() >= pauseAt) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      options.signal?.throwIfAborted()
      pauseAt = performance.now() + SLICE_MS
    }
    step = steps.next()
  }
  const continuum = new Continuum([])
  adopt(continuum, Object.freeze(copy.map((bucket) => bucket.address)), step.value)
  return continuum
}

function readSources(buckets: readonly Bucket[], options: ContinuumOptions): Source[] {
  onlyNames('the options', options, ['pointsPerWeight', 'pointCountMax', 'ipv6Brackets', 'signal'])
  if (!Array.isArray(buckets)) throw new TypeError(`Buckets must be an array, received ${describe(buckets)}`)
  const {
    pointsPerWeight = POINTS_PER_WEIGHT,
    pointCountMax = POINT_COUNT_MAX,
    ipv6Brackets = true,
  } = options
  assertCount('pointsPerWeight', pointsPerWeight)
  assertCount('pointCountMax', pointCountMax)
  if (typeof ipv6Brackets !== 'boolean') {
    throw new TypeError(`ipv6Brackets must be true or false, received ${describe(ipv6Brackets)}`)
  }
  let pointCount = 0
  const sources = (buckets as readonly Bucket[]).map((bucket): Source => {
    onlyNames('a bucket', bucket, ['address', 'weight'])
    const { address, weight = 1 } = bucket
    if (typeof address !== 'string' || address === '') {
      throw new TypeError(`Bucket address must be a non-empty string, received ${describe(address)}`)
    }
    assertCount(`Weight of '${address}'`, weight)
    pointCount += weight * pointsPerWeight
    return { input: hashInput(address, ipv6Brackets), pointCount: weight * pointsPerWeight }
  })
  if (pointCount > pointCountMax) {
    throw new RangeError(`Ring needs ${pointCount} points, more than pointCountMax ${pointCountMax}`)
  }
  return sources
}

/** What is misspelt would be ignored, and the ring another than was meant. */
function onlyNames(what: string, value: object, known: readonly string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`Expected ${what} to be an object, received ${describe(value)}`)
  }
  for (const name in value) {
    if (!known.includes(name)) {
      throw new TypeError(`Unknown "${name}" in ${what}; known are ${known.join(', ')}`)
    }
  }
}

function assertCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > 0xffff_ffff) {
    throw new RangeError(`${name} must be an integer from 1 to 4294967295, received ${describe(value)}`)
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

function runAtOnce(steps: Generator<void, Ring, void>): Ring {
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}
