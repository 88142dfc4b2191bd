import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeyHasher, type LimitKey } from '../src/key-hash.ts'

const hasher = new KeyHasher(0x12345678, -7)

function hash(key: LimitKey, by: KeyHasher = hasher): string {
  by.hash(key)
  return `${by.low} ${by.high}`
}

const anyKey = fc.oneof(
  fc.string({ maxLength: 600 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.integer(),
  fc.double(),
  fc.uint8Array({ maxLength: 600 }),
)

test('the same key has the same hash, whatever was hashed before', () => {
  fc.assert(
    fc.property(anyKey, anyKey, (key, other) => {
      const first = hash(key)
      hash(other)
      expect(hash(key)).toBe(first)
      expect(hash(key, new KeyHasher(0x12345678, -7))).toBe(first)
    }),
  )
})

test('another seed gives another hash', () => {
  fc.assert(
    fc.property(anyKey, (key) => {
      expect(hash(key, new KeyHasher(0x12345678, -6))).not.toBe(hash(key))
      expect(hash(key, new KeyHasher(0x12345679, -7))).not.toBe(hash(key))
    }),
  )
})

test('different keys have different hashes: kinds, lengths, ends, and text beyond Latin-1', () => {
  const keys: LimitKey[] = [
    1,
    '1',
    new Uint8Array([0x31]),
    1.5,
    2 ** 40,
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ]
  for (let length = 0; length <= 520; length++) {
    keys.push('a'.repeat(length), '\0'.repeat(length), 'ж'.repeat(length + 1), new Uint8Array(length))
    keys.push(`${'b'.repeat(length)}c`, `${'b'.repeat(length)}ж`, `ж${'b'.repeat(length)}`)
  }
  expect(new Set(keys.map((key) => hash(key))).size).toBe(new Set(keys.map(distinct)).size)
})

function distinct(key: LimitKey): string {
  return typeof key === 'object' ? `bytes ${key.join()}` : `${typeof key} ${key}`
}

test('0 and -0 are one key, and every NaN is', () => {
  expect(hash(-0)).toBe(hash(0))
  const other = new Float64Array(new BigUint64Array([0xfff8_0000_0000_0001n]).buffer)[0] as number
  expect(hash(other)).toBe(hash(Number.NaN))
})

test('a Buffer and a Uint8Array of the same bytes are one key', () => {
  expect(hash(Buffer.from('abc'))).toBe(hash(new Uint8Array([97, 98, 99])))
})

test('bits of the hash are even over counting keys', () => {
  const ones = Array.from({ length: 64 }, () => 0)
  const count = 4_000
  for (let index = 0; index < count; index++) {
    hasher.hash(index % 2 ? `10.0.0.${index}` : index)
    for (let bit = 0; bit < 64; bit++) {
      ones[bit] = (ones[bit] as number) + (((bit < 32 ? hasher.low : hasher.high) >>> (bit & 31)) & 1)
    }
  }
  for (const one of ones) expect(Math.abs(one / count - 0.5)).toBeLessThan(0.05)
})

test.each([undefined, null, {}, true, 1n, [1]])('refuses a key that is %o', (key) => {
  expect(() => hasher.hash(key as unknown as LimitKey)).toThrow(TypeError)
})
