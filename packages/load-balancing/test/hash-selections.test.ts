import {
  Backend,
  boundedLoad,
  fnvHash,
  ketama,
  type Lease,
  LoadBalancer,
  maglev,
  rendezvous,
  type Selection,
} from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fnv64 } from '../src/selection/hash.ts'
import { addresses, shares, weighted } from './helpers.ts'

test('FNV-1a agrees with arithmetic on 64-bit integers, for text, bytes and chains', () => {
  const reference = (bytes: Uint8Array) => {
    let hash = 0xcbf29ce484222325n
    for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn
    return hash
  }
  const numberOf = (hash: Fnv64) => (BigInt(hash.high) << 32n) | BigInt(hash.low)
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 2 ** 40 }), (text, divisor) => {
      const hash = new Fnv64()
      hash.hash(text)
      let expected = reference(Buffer.from(text))
      expect(numberOf(hash)).toBe(expected)
      expect(hash.modulo(divisor)).toBe(Number(expected % BigInt(divisor)))
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, expected, true)
      expected = reference(bytes)
      hash.rehash()
      expect(numberOf(hash)).toBe(expected)
      hash.hash(Buffer.from(text))
      expect(numberOf(hash)).toBe(reference(Buffer.from(text)))
    }),
  )
})

test('a key that is neither text nor bytes is refused: all numbers would be one key', () => {
  for (const selection of [fnvHash(), ketama(), maglev(), rendezvous(), boundedLoad(maglev())]) {
    const balancer = LoadBalancer.fromAddresses(addresses(3), selection)
    for (const key of [7, null, ['a'], {}, true]) {
      expect(() => balancer.select(key as never), selection.name).toThrow(TypeError)
    }
    expect(balancer.select(undefined)).toBeDefined()
  }
})

// From pingora-load-balancing's own tests of its FNVHash and Consistent selections.
const pingoraSet = [
  new Backend('1.1.1.1:80'),
  new Backend('1.0.0.1:80', { weight: 10 }),
  new Backend('1.0.0.255:80'),
]
const short = (address: string | undefined) => address?.replace(':80', '')

test('FNV chooses what Pingora chooses, fallbacks included', () => {
  const backends = LoadBalancer.fromBackends(pingoraSet, fnvHash()).backends
  const statuses = backends.map(() => ({ eligible: true, inFlight: 0, latencyMs: () => 0 }))
  const group = { inFlight: 0, eligibleWeight: 12 }
  const picker = fnvHash().build({ backends, statuses, group, random: Math.random, now: () => 0 })
  const proposed = [picker.begin('test'), ...Array.from({ length: 10 }, () => picker.next())]
  expect(proposed.map((index) => short(backends[index]?.address))).toEqual(
    '1.0.0.1 1.0.0.1 1.0.0.1 1.1.1.1 1.0.0.255 1.0.0.1 1.0.0.1 1.1.1.1 1.0.0.1 1.0.0.255 1.1.1.1'.split(' '),
  )
  const balancer = LoadBalancer.fromBackends(pingoraSet, fnvHash())
  const chosen = [1, 2, 3, 4, 5, 6].map((number) => short(balancer.select(`test${number}`)?.address))
  expect(chosen).toEqual(['1.0.0.1', '1.0.0.1', '1.0.0.255', '1.1.1.1', '1.0.0.1', '1.0.0.1'])
})

test('ketama chooses what Pingora and nginx choose', () => {
  const balancer = LoadBalancer.fromAddresses(['1.1.1.1:80', '1.0.0.1:80', '1.0.0.255:80'], ketama())
  const chosen = Array.from({ length: 10 }, (_, index) => short(balancer.select(`test${index}`)?.address))
  expect(chosen).toEqual([
    '1.0.0.1',
    '1.1.1.1',
    '1.1.1.1',
    '1.1.1.1',
    '1.1.1.1',
    '1.0.0.255',
    '1.1.1.1',
    '1.0.0.255',
    '1.1.1.1',
    '1.0.0.1',
  ])
})

test('rendezvous and Maglev keep choosing what this release chooses', () => {
  const set = weighted([1, 2, 1, 1])
  const last = (balancer: LoadBalancer) =>
    Array.from({ length: 16 }, (_, index) => balancer.select(`key ${index}`)?.address.at(7)).join('')
  expect(last(LoadBalancer.fromBackends(set, rendezvous()))).toMatchInlineSnapshot(`"3302102100101023"`)
  expect(last(LoadBalancer.fromBackends(set, maglev()))).toMatchInlineSnapshot(`"0110111013111133"`)
})

test('Maglev’s shares are exact to 1 %', () => {
  const balancer = LoadBalancer.fromBackends(addresses(100), maglev({ tableSize: 65_537 }))
  const counts = [...shares(balancer, 200_000, (index) => `k${index}`).values()]
  // 2,000 each; the rest of the spread is that of 200,000 random keys: 45 is one standard deviation.
  expect(Math.min(...counts)).toBeGreaterThan(1_780)
  expect(Math.max(...counts)).toBeLessThan(2_220)
})

test('Maglev refuses a table that is not prime, or too small', () => {
  for (const tableSize of [4, 65_536, 2, 1.5, Number.NaN, 20_000_003]) {
    expect(() => maglev({ tableSize }), String(tableSize)).toThrow(RangeError)
  }
  expect(() => LoadBalancer.fromAddresses(addresses(3), maglev({ tableSize: 3 }))).toThrow(/too small/)
  expect(LoadBalancer.fromAddresses(addresses(2), maglev({ tableSize: 3 })).select('a')).toBeDefined()
})

test('bounded load: no backend goes above its share, and a hot key spills to its next backends only', () => {
  const balancer = LoadBalancer.fromAddresses(addresses(10), boundedLoad(ketama(), { factor: 1.25 }))
  const counts = new Map<string, number>()
  for (let total = 1; total <= 1_000; total++) {
    const { address } = (balancer.acquire('one hot key') as Lease).backend
    counts.set(address, (counts.get(address) ?? 0) + 1)
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(Math.ceil((1.25 * total) / 10))
  }
  expect(counts.size).toBe(8)
})

test('bounded load: if every proposal is above its share, the least loaded one is taken', () => {
  // The inner one proposes nothing but the first backend.
  const stubborn: Selection = { name: 'stubborn', build: () => ({ begin: () => 0, next: () => 0 }) }
  const balancer = LoadBalancer.fromAddresses(addresses(3), boundedLoad(stubborn, { factor: 1 }))
  const chosen = Array.from({ length: 6 }, () => balancer.acquire('key')?.backend.address)
  for (const address of addresses(3)) expect(chosen.filter((other) => other === address)).toHaveLength(2)
  expect(() => boundedLoad(stubborn, { factor: 0.9 })).toThrow(RangeError)
  expect(() => boundedLoad(null as never)).toThrow(/Expected a selection/)
})

test('bounded load: without load it is the inner selection', () => {
  const plain = LoadBalancer.fromAddresses(addresses(10), ketama())
  const bounded = LoadBalancer.fromAddresses(addresses(10), boundedLoad(ketama()))
  for (let index = 0; index < 500; index++) {
    expect(bounded.select(`${index}`)?.address).toBe(plain.select(`${index}`)?.address)
  }
})
