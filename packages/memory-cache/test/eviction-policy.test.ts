import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type EvictionLimits, type EvictionPolicy, LruPolicy, TinyUfoPolicy } from '../src/eviction-policy.ts'

interface Item {
  readonly id: number
}
type Create = (limits: Partial<EvictionLimits>) => EvictionPolicy<string, Item>

const complete = (limits: Partial<EvictionLimits>): EvictionLimits => ({
  entriesMax: 100,
  weightMax: undefined,
  seed: 1,
  ...limits,
})
const policies: [string, Create][] = [
  ['lru', (limits) => new LruPolicy(complete(limits))],
  ['tinyufo', (limits) => new TinyUfoPolicy(complete(limits))],
]

// The conformance suite: every policy runs it.
describe.each(policies)('%s', (_name, create) => {
  test('holds what was put, until it is removed', () => {
    const policy = create({})
    const item = { id: 1 }
    expect(policy.put('a', item, 1, false)).toBe(true)
    expect([policy.get('a'), policy.peek('a'), policy.size, policy.weight]).toEqual([item, item, 1, 1])
    expect(policy.get('b')).toBeUndefined()
    expect([policy.remove('a'), policy.remove('a'), policy.get('a'), policy.size]).toEqual([
      true,
      false,
      undefined,
      0,
    ])
  })

  test('replaces in place', () => {
    const policy = create({ weightMax: 10 })
    policy.put('a', { id: 1 }, 4, false)
    policy.put('a', { id: 2 }, 6, false)
    expect([policy.get('a'), policy.size, policy.weight, policy.evictionCount]).toEqual([{ id: 2 }, 1, 6, 0])
  })

  test('entriesMax: n − 1 and n entries stay, n + 1 push one out', () => {
    const policy = create({ entriesMax: 3 })
    for (let id = 0; id < 3; id++) {
      policy.put(`key ${id}`, { id }, 1, true)
      expect([policy.size, policy.evictionCount]).toEqual([id + 1, 0])
    }
    policy.put('key 3', { id: 3 }, 1, true)
    expect([policy.size, policy.evictionCount]).toEqual([3, 1])
  })

  test('weightMax: an entry of n − 1 and of n fits; one more pushes it out', () => {
    const policy = create({ weightMax: 10 })
    expect(policy.put('a', { id: 1 }, 9, true)).toBe(true)
    expect(policy.put('a', { id: 2 }, 10, true)).toBe(true)
    expect(policy.put('b', { id: 3 }, 1, true)).toBe(true)
    expect([policy.size, policy.weight, policy.evictionCount]).toEqual([1, 1, 1])
  })

  test('an entry that is read often outlives those that are not', () => {
    const policy = create({ entriesMax: 10 })
    policy.put('often', { id: 0 }, 1, true)
    for (let id = 1; id < 100; id++) {
      policy.get('often')
      policy.put(`once ${id}`, { id }, 1, true)
    }
    expect(policy.get('often')).toEqual({ id: 0 })
  })

  test('clear empties it', () => {
    const policy = create({ weightMax: 100 })
    for (let id = 0; id < 10; id++) policy.put(`key ${id}`, { id }, 3, false)
    policy.clear()
    expect([policy.size, policy.weight, policy.get('key 1')]).toEqual([0, 0, undefined])
    expect(policy.put('key 1', { id: 1 }, 3, false)).toBe(true)
  })

  test('never breaks a limit, never returns what was not put last, and says what it holds', () => {
    const act = fc.record({
      key: fc.integer({ min: 0, max: 20 }).map(String),
      weight: fc.integer({ min: 1, max: 12 }),
      kind: fc.constantFrom('put', 'force', 'get', 'get', 'remove'),
    })
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const policy = create({ entriesMax: 6, weightMax: 12 })
        const last = new Map<string, Item>()
        for (const [id, { key, weight, kind }] of acts.entries()) {
          if (kind === 'remove') {
            policy.remove(key)
            last.delete(key)
          } else if (kind === 'get') {
            const item = policy.get(key)
            if (item !== undefined) expect(item).toBe(last.get(key))
          } else {
            const item = { id }
            const isHeld = policy.put(key, item, weight, kind === 'force')
            last.set(key, item)
            expect(policy.peek(key)).toBe(isHeld ? item : undefined)
            if (kind === 'force') expect(isHeld).toBe(true)
          }
          expect(policy.size).toBeLessThanOrEqual(6)
          expect(policy.weight).toBeLessThanOrEqual(12)
        }
      }),
    )
  })
})

test('tinyufo turns a newcomer away for one that was put more often, and counts it', () => {
  const policy = new TinyUfoPolicy<string, Item>(complete({ entriesMax: 2 }))
  for (let round = 0; round < 2; round++) for (const key of ['a', 'b']) policy.put(key, { id: 1 }, 1, false)
  expect(policy.put('c', { id: 2 }, 1, false)).toBe(false)
  expect([policy.rejectionCount, policy.evictionCount, policy.size]).toEqual([1, 0, 2])
})
