import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Inflight } from '../src/index.ts'

test('a guard counts until it is released, and only once', () => {
  const inflight = new Inflight()
  const first = inflight.acquire('a')
  const second = inflight.acquire('a', 2)
  expect([first.count, second.count]).toEqual([1, 3])
  expect(inflight.get('a')).toBe(3)
  first.release()
  first.release()
  expect(second.get()).toBe(2)
  expect(second.incr()).toBe(3)
  expect(second.incr(4)).toBe(7)
  second[Symbol.dispose]()
  second.release()
  expect(inflight.get('a')).toBe(0)
  expect(() => second.incr()).toThrow(TypeError)
})

test('using releases at the end of the block, also after a throw', () => {
  const inflight = new Inflight()
  expect(() => {
    using guard = inflight.acquire('a')
    expect(guard.count).toBe(1)
    throw new Error('inside')
  }).toThrow('inside')
  expect(inflight.get('a')).toBe(0)
})

test('tryAcquire lets in up to the maximum and counts nothing beyond', () => {
  const inflight = new Inflight()
  const guards = [inflight.tryAcquire('a', 2), inflight.tryAcquire('a', 2), inflight.tryAcquire('a', 2)]
  expect(guards.map((guard) => guard?.count)).toEqual([1, 2, undefined])
  expect(inflight.get('a')).toBe(2)
  guards[0]?.release()
  expect(inflight.tryAcquire('a', 2, 2)).toBeUndefined()
  expect(inflight.tryAcquire('a', 2)?.count).toBe(2)
  expect(() => inflight.tryAcquire('a', -1)).toThrow(RangeError)
})

test('any order of acquiring and releasing ends at zero and is never below the truth', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(5), fc.boolean()), { maxLength: 100 }),
      (acts) => {
        const inflight = new Inflight({ rows: 2, columns: 2 })
        const held: { key: string; units: number; release(): void }[] = []
        for (const [key, units, release] of acts) {
          if (release) held.splice(units % Math.max(1, held.length), 1)[0]?.release()
          else {
            const guard = inflight.acquire(key, units)
            held.push({ key, units, release: () => guard.release() })
          }
          const truth = held.reduce((sum, one) => sum + (one.key === key ? one.units : 0), 0)
          expect(inflight.get(key)).toBeGreaterThanOrEqual(truth)
        }
        for (const one of held) one.release()
        for (const key of ['a', 'b', 'c', 'd']) expect(inflight.get(key)).toBe(0)
      },
    ),
  )
})

test('lanes count together, and a dead lane can be cleared', () => {
  const size = { lanes: 3, rows: 2, columns: 64 }
  const memory = new SharedArrayBuffer(Inflight.byteLength(size))
  const [one, two] = [0, 1].map((lane) => new Inflight({ ...size, lane, memory })) as [Inflight, Inflight]
  one.acquire('a', 2)
  expect(two.acquire('a').count).toBe(3)
  expect(two.tryAcquire('a', 3)).toBeUndefined()
  two.releaseLane(0)
  expect(one.get('a')).toBe(1)
  expect(two.tryAcquire('a', 3)?.count).toBe(2)
  expect(() => new Inflight({ lanes: 2, lane: 2 })).toThrow(RangeError)
  expect(() => new Inflight({ lanes: 257 })).toThrow(RangeError)
  expect(() => one.releaseLane(3)).toThrow(RangeError)
  expect(Inflight.byteLength()).toBe(64 + 4 * 8192 * 4)
})

test.each([false, true])('huge numbers of units change nothing (shared: %s)', (shared) => {
  const inflight = new Inflight(shared ? { memory: new SharedArrayBuffer(Inflight.byteLength()) } : {})
  using kept = inflight.acquire('a', 3)
  expect(inflight.tryAcquire('a', 2 ** 30, 2 ** 40)).toBeUndefined()
  expect(inflight.tryAcquire('a', 100, 101)).toBeUndefined()
  expect(() => inflight.acquire('a', 2 ** 20 + 1)).toThrow(RangeError)
  expect(() => kept.incr(2 ** 20 + 1)).toThrow(RangeError)
  expect(() => inflight.tryAcquire('a', 2 ** 30 + 1)).toThrow(RangeError)
  expect(inflight.get('a')).toBe(3)
})

test('the count holds at 2^30, refuses more, and comes back exactly', () => {
  const inflight = new Inflight()
  const guards = Array.from({ length: 1_024 }, () => inflight.acquire('a', 2 ** 20))
  expect(inflight.get('a')).toBe(2 ** 30)
  expect(() => inflight.acquire('a')).toThrow('Cannot have 1073741825 units under way')
  expect(() => guards[0]?.incr()).toThrow(RangeError)
  for (const guard of guards) guard.release()
  expect(inflight.get('a')).toBe(0)
})
