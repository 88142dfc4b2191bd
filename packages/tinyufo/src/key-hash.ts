/** Hashes a key to 32 bits for the frequency sketch. Equal keys (as `Map` compares them) give equal hashes. */
export type KeyHash = (key: unknown) => number

const doubles = new Float64Array(1)
const doubleWords = new Uint32Array(doubles.buffer)

/**
 * Makes a hash for any `Map` key: numbers and strings by content, objects, functions and unregistered symbols by
 * identity. `seed` keeps a peer from choosing keys that collide on purpose.
 *
 * Objects get a running number in a `WeakMap`, which keeps none of them alive.
 */
export function createKeyHash(seed: number): KeyHash {
  const identities = new WeakMap<WeakKey, number>()
  let identityCount = 0

  function hashIdentity(key: WeakKey): number {
    let identity = identities.get(key)
    if (identity === undefined) {
      identity = identityCount++
      identities.set(key, identity)
    }
    // Mixed once more than a number, so that the first objects do not share the hashes of the first integers.
    return mix(mix(identity ^ seed))
  }

  return (key) => {
    switch (typeof key) {
      case 'string':
        return hashString(key, seed)
      case 'number':
        return hashNumber(key, seed)
      case 'bigint':
        return hashString(key.toString(36), seed)
      case 'boolean':
        return mix(seed + (key ? 1 : 2))
      case 'undefined':
        return mix(seed + 3)
      case 'symbol':
        return Symbol.keyFor(key) === undefined ? hashIdentity(key) : hashString(key.description ?? '', seed)
      default:
        return key === null ? mix(seed + 4) : hashIdentity(key as WeakKey)
    }
  }
}

/** Spreads every input bit over all 32 (the finalizer constants of MurmurHash3, which is in the public domain). */
export function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function hashString(text: string, seed: number): number {
  let h = seed ^ text.length
  for (let index = 0; index < text.length; index++) {
    h = Math.imul(h ^ text.charCodeAt(index), 0x5bd1e995)
    h ^= h >>> 15
  }
  return mix(h)
}

function hashNumber(value: number, seed: number): number {
  // `-0 | 0` is 0, and `Map` holds both to be one key.
  if ((value | 0) === value) return mix(value ^ seed)
  // A NaN has many bit patterns but is one key.
  if (Number.isNaN(value)) return mix(seed + 5)
  doubles[0] = value
  return mix((doubleWords[0] as number) ^ mix((doubleWords[1] as number) ^ seed))
}
