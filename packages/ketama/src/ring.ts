import { crc32, crc32Word } from './crc32.ts'

/** A finished ring: points in ascending order, each hash once. */
export interface Ring {
  /** Hash of each point. */
  readonly hashes: Uint32Array<ArrayBuffer>
  /** Server of each point, in the same order. */
  readonly nodes: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>
  /** Position of the first point whose upper bits are at least the index; one entry more than prefixes. */
  readonly directory: Uint32Array<ArrayBuffer>
  /** How far a hash is shifted right to give its index in `directory`. */
  readonly shift: number
  /** Servers that own at least one point. */
  readonly reachableCount: number
}

/** What is hashed for one server, and how many points it gets. */
export interface Source {
  readonly input: string
  readonly pointCount: number
}

/** Points handled between two yields: well under a millisecond each. */
const SLICE_POINTS = 16_384

/** Radix digits: 11, 11 and 10 bits of the hash. */
const DIGIT_SHIFTS: readonly number[] = [0, 11, 22]
const DIGIT_SIZE = 2048

/**
 * Builds a ring in slices; the caller decides whether to pause at a yield.
 *
 * The sort is a radix sort because it is stable (on equal hashes the server listed first wins, as in nginx on
 * glibc) and because it can be interrupted.
 */
export function* buildRing(sources: readonly Source[]): Generator<void, Ring, void> {
  let count = 0
  for (const source of sources) count += source.pointCount
  let hashes = new Uint32Array(count)
  let nodes = nodeArray(sources.length, count)

  let position = 0
  let sliceEnd = SLICE_POINTS
  for (let node = 0; node < sources.length; node++) {
    const { input, pointCount } = sources[node] as Source
    const base = crc32(input)
    const end = position + pointCount
    let previous = 0
    while (position < end) {
      previous = crc32Word(base, previous)
      hashes[position] = previous
      nodes[position] = node
      if (++position === sliceEnd) {
        sliceEnd += SLICE_POINTS
        yield
      }
    }
  }

  let hashesTo = new Uint32Array(count)
  let nodesTo = nodeArray(sources.length, count)
  for (const shift of DIGIT_SHIFTS) {
    const offsets = yield* digitOffsets(hashes, shift)
    for (let start = 0; start < count; start += SLICE_POINTS) {
      scatter(hashes, nodes, hashesTo, nodesTo, offsets, shift, start, Math.min(start + SLICE_POINTS, count))
      yield
    }
    const hashesFrom = hashes
    const nodesFrom = nodes
    hashes = hashesTo
    nodes = nodesTo
    hashesTo = hashesFrom
    nodesTo = nodesFrom
  }
  return yield* finish(hashes, nodes, sources.length)
}

/** Where each value of one digit starts in the sorted order. */
function* digitOffsets(hashes: Uint32Array, shift: number): Generator<void, Uint32Array, void> {
  const offsets = new Uint32Array(DIGIT_SIZE)
  for (let start = 0; start < hashes.length; start += SLICE_POINTS) {
    const end = Math.min(start + SLICE_POINTS, hashes.length)
    for (let index = start; index < end; index++) {
      const digit = ((hashes[index] as number) >>> shift) & (DIGIT_SIZE - 1)
      offsets[digit] = (offsets[digit] as number) + 1
    }
    yield
  }
  let sum = 0
  for (let digit = 0; digit < DIGIT_SIZE; digit++) {
    const inDigit = offsets[digit] as number
    offsets[digit] = sum
    sum += inDigit
  }
  return offsets
}

function scatter(
  hashes: Uint32Array,
  nodes: Uint16Array | Uint32Array,
  hashesTo: Uint32Array,
  nodesTo: Uint16Array | Uint32Array,
  offsets: Uint32Array,
  shift: number,
  start: number,
  end: number,
): void {
  for (let index = start; index < end; index++) {
    const hash = hashes[index] as number
    const digit = (hash >>> shift) & (DIGIT_SIZE - 1)
    const target = offsets[digit] as number
    offsets[digit] = target + 1
    hashesTo[target] = hash
    nodesTo[target] = nodes[index] as number
  }
}

/** Keeps the first point of each hash and adds the directory. */
function* finish(
  hashes: Uint32Array<ArrayBuffer>,
  nodes: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  nodeCount: number,
): Generator<void, Ring, void> {
  const seen = new Uint8Array(nodeCount)
  let reachableCount = 0
  let count = 0
  for (let start = 0; start < hashes.length; start += SLICE_POINTS) {
    const end = Math.min(start + SLICE_POINTS, hashes.length)
    for (let index = start; index < end; index++) {
      const hash = hashes[index] as number
      if (count > 0 && hashes[count - 1] === hash) continue
      const node = nodes[index] as number
      hashes[count] = hash
      nodes[count] = node
      count++
      if (seen[node] === 0) {
        seen[node] = 1
        reachableCount++
      }
    }
    yield
  }

  // About one point per prefix: a look-up then compares one or two hashes, whatever the size of the ring.
  const bits = Math.max(1, Math.floor(Math.log2(Math.max(1, count))))
  const shift = 32 - bits
  const directory = new Uint32Array(2 ** bits + 1)
  let prefix = 0
  for (let start = 0; start < count; start += SLICE_POINTS) {
    const end = Math.min(start + SLICE_POINTS, count)
    for (let index = start; index < end; index++) {
      const prefixHere = (hashes[index] as number) >>> shift
      while (prefix <= prefixHere) directory[prefix++] = index
    }
    yield
  }
  directory.fill(count, prefix)
  return { hashes: hashes.slice(0, count), nodes: nodes.slice(0, count), directory, shift, reachableCount }
}

function nodeArray(nodeCount: number, length: number): Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  return nodeCount <= 0x1_0000 ? new Uint16Array(length) : new Uint32Array(length)
}
