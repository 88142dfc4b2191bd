import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createKeyHash } from '../src/key-hash.ts'

test('a key always has the same hash, 32 bits without sign', () => {
  const hash = createKeyHash(5)
  fc.assert(
    fc.property(fc.anything(), (key) => {
      const value = hash(key)
      expect(value).toBe(hash(key))
      expect(value >>> 0).toBe(value)
    }),
  )
})

test('what a Map holds to be one key has one hash', () => {
  const hash = createKeyHash(5)
  expect(hash(-0)).toBe(hash(0))
  expect(hash(Number.NaN)).toBe(hash(0 / 0))
  expect(hash(2n ** 70n)).toBe(hash(2n ** 70n))
  expect(hash(['ab', 'cd'].join(''))).toBe(hash('abcd'))
})

test('different keys seldom share a hash', () => {
  const hash = createKeyHash(5)
  const hashes = new Set<number>()
  for (let index = 0; index < 2000; index++) {
    hashes.add(hash(index))
    hashes.add(hash(index + 0.5))
    hashes.add(hash(2 ** 40 + index))
    hashes.add(hash(`key ${index}`))
    hashes.add(hash({}))
  }
  for (const key of [true, false, null, undefined, Symbol('a'), Symbol('a'), Symbol.for('a')])
    hashes.add(hash(key))
  expect(hashes.size).toBeGreaterThan(10_000)
})

test('the seed decides the hash', () => {
  expect(createKeyHash(1)('a')).toBe(createKeyHash(1)('a'))
  expect(createKeyHash(1)('a')).not.toBe(createKeyHash(2)('a'))
  expect(createKeyHash(1)(7)).not.toBe(createKeyHash(2)(7))
})
