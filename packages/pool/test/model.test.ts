import { ConnectionPool, type EvictReason, type PoolEntry } from '@cirque/pool'
import { SteppedWheel } from '@cirque/timeout'
import fc from 'fast-check'
import { expect, test } from 'vitest'

const KEYS = ['a', 'b', 'c']

/** What the naive model knows of a connection. */
interface Known {
  readonly id: number
  readonly key: string
  readonly bornAtMs: number
  readonly entry: PoolEntry<number>
  uses: number
  idleEndMs: number
  isBarred: boolean
}

const anyAct = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant('add' as const), key: fc.nat(2), pick: fc.nat(), ms: fc.nat(0) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      act: fc.constant('acquire' as const),
      key: fc.nat(2),
      pick: fc.nat(),
      ms: fc.nat(0),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constant('release' as const),
      key: fc.nat(2),
      pick: fc.nat(),
      ms: fc.constantFrom(0, 300, 1_000, 1_000, 1_000, 5_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant('remove' as const),
      key: fc.nat(2),
      pick: fc.nat(),
      ms: fc.nat(0),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constant('step' as const),
      key: fc.nat(2),
      pick: fc.nat(),
      ms: fc.nat(1_500),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant('drain' as const),
      key: fc.nat(2),
      pick: fc.nat(),
      ms: fc.nat(0),
    }),
  },
)
const anyLimits = fc.record({
  idleMax: fc.integer({ min: 0, max: 6 }),
  idlePerKeyMax: fc.integer({ min: 0, max: 4 }),
  usesMax: fc.integer({ min: 0, max: 4 }),
  ageMaxMs: fc.constantFrom(0, 2_000),
})

test('the pool does what a naive model does, with any limits and any sequence of acts', () => {
  fc.assert(
    fc.property(anyLimits, fc.array(anyAct, { maxLength: 80 }), fc.boolean(), (limits, acts, endsByClose) => {
      const wheel = new SteppedWheel()
      const evicted: [number, EvictReason][] = []
      const pool = new ConnectionPool<number>({
        ...limits,
        jitter: 0,
        wheel,
        onEvict: (id, reason) => evicted.push([id, reason]),
      })
      // The model: two plain lists, idle ones in the order of their release.
      let used: Known[] = []
      let idle: Known[] = []
      let count = 0
      const ageEnd = (known: Known): number =>
        limits.ageMaxMs === 0 ? Infinity : known.bornAtMs + limits.ageMaxMs
      const give = (known: Known, reason: EvictReason): [number, EvictReason] => {
        idle = idle.filter((other) => other !== known)
        used = used.filter((other) => other !== known)
        return [known.id, reason]
      }
      const expiry = (known: Known): EvictReason => (ageEnd(known) <= wheel.now() ? 'age' : 'idle-timeout')

      for (const { act, key: keyIndex, pick, ms } of acts) {
        const key = KEYS[keyIndex] as string
        const expected: [number, EvictReason][] = []
        evicted.length = 0
        if (act === 'add') {
          const id = count++
          const entry = pool.add(key, id)
          used.push({ id, key, bornAtMs: wheel.now(), entry, uses: 1, idleEndMs: 0, isBarred: false })
        } else if (act === 'acquire') {
          let found: Known | undefined
          for (const known of idle.filter((other) => other.key === key).reverse()) {
            if (known.idleEndMs > wheel.now()) {
              found = known
              break
            }
            expected.push(give(known, expiry(known)))
          }
          expect(pool.acquire(key)).toBe(found?.entry)
          if (found !== undefined) {
            idle = idle.filter((other) => other !== found)
            used.push(found)
            found.uses++
          }
        } else if (act === 'release' && used.length > 0) {
          const known = used[pick % used.length] as Known
          const refusal: EvictReason | undefined = known.isBarred
            ? 'closed'
            : limits.usesMax > 0 && known.uses >= limits.usesMax
              ? 'uses'
              : ageEnd(known) <= wheel.now()
                ? 'age'
                : ms === 0
                  ? 'idle-timeout'
                  : limits.idleMax === 0
                    ? 'capacity'
                    : limits.idlePerKeyMax === 0
                      ? 'key-capacity'
                      : undefined
          expect(pool.release(known.entry, ms)).toBe(refusal === undefined)
          if (refusal !== undefined) expected.push(give(known, refusal))
          else {
            used = used.filter((other) => other !== known)
            known.idleEndMs = Math.min(wheel.now() + ms, ageEnd(known))
            idle.push(known)
            const ofKey = idle.filter((other) => other.key === known.key)
            if (ofKey.length > limits.idlePerKeyMax) expected.push(give(ofKey[0] as Known, 'key-capacity'))
            if (idle.length > limits.idleMax) expected.push(give(idle[0] as Known, 'capacity'))
          }
        } else if (act === 'remove' && used.length + idle.length > 0) {
          const known = [...used, ...idle][pick % (used.length + idle.length)] as Known
          give(known, 'closed')
          pool.remove(known.entry)
          pool.remove(known.entry)
        } else if (act === 'drain') {
          for (const known of used) if (known.key === key) known.isBarred = true
          for (const known of idle.filter((other) => other.key === key).reverse())
            expected.push(give(known, 'closed'))
          pool.drainKey(key)
        } else if (act === 'step') {
          wheel.step(ms)
          // When the sweep comes is the pool's business: only what expired may go, and all of it within the sweep's gap.
          for (const [id] of evicted) {
            const known = idle.find((other) => other.id === id) as Known
            expect(known.idleEndMs).toBeLessThanOrEqual(wheel.now())
            expected.push(give(known, evicted.find(([other]) => other === id)?.[1] as EvictReason))
          }
          for (const known of idle) expect(known.idleEndMs).toBeGreaterThan(wheel.now() - 300)
        }
        expect(evicted).toEqual(expected)
        expect(pool.usedCount).toBe(used.length)
        expect(pool.idleCount).toBe(idle.length)
        expect(idle.length).toBeLessThanOrEqual(limits.idleMax)
        for (const each of KEYS) {
          const idleOfKey = idle.filter((known) => known.key === each).length
          expect(pool.idleCountOf(each)).toBe(idleOfKey)
          expect(idleOfKey).toBeLessThanOrEqual(limits.idlePerKeyMax)
        }
        for (const known of used) expect(known.entry.state).toBe('used')
        for (const known of idle) expect(known.entry.state).toBe('idle')
        expect(wheel.armedCount).toBeLessThanOrEqual(1)
      }

      if (endsByClose) pool.close()
      else wheel.step(10_000)
      expect(pool.idleCount).toBe(0)
      expect(wheel.armedCount).toBe(0)
    }),
    { numRuns: 300 },
  )
})
