import {
  type Backend,
  type BalancerEvent,
  type Lease,
  LoadBalancer,
  random,
  roundRobin,
} from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OutlierState, outlierSettings } from '../src/resilience/outlier.ts'
import { addresses, Clock, seededRandom } from './helpers.ts'

const failed = { ok: false, source: 'upstream' } as const

function setUp(count: number, outlier: Parameters<typeof outlierSettings>[0], panicPercent = 0) {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(count), roundRobin(), {
    now: clock.now,
    outlier,
    panicPercent,
  })
  const events: BalancerEvent[] = []
  balancer.subscribe((event) => events.push(event))
  const fail = (index: number, times: number) => {
    for (let time = 0; time < times; time++) {
      balancer.acquireFor(balancer.backends[index] as Backend)?.release(failed)
    }
  }
  return { clock, balancer, events, fail }
}

test('failures in a row eject a backend; it returns by itself, and is out twice as long the next time', () => {
  const { clock, balancer, events, fail } = setUp(4, { consecutiveFailure: 3, ejectionMs: 1_000 })
  const victim = balancer.backends[1] as Backend
  fail(1, 2)
  expect(balancer.isEligible(victim)).toBe(true)
  fail(1, 1)
  expect(balancer.isEligible(victim)).toBe(false)
  expect(events).toEqual([{ type: 'ejected', backend: victim, ejectionMs: 1_000 }])
  for (let turn = 0; turn < 8; turn++) expect(balancer.select()).not.toBe(victim)
  clock.ms = 999
  expect(balancer.isEligible(victim)).toBe(false)
  clock.ms = 1_000
  expect(balancer.isEligible(victim)).toBe(true)
  expect(events.at(-1)).toEqual({ type: 'returned', backend: victim })
  fail(1, 3)
  expect(events.at(-1)).toMatchObject({ type: 'ejected', ejectionMs: 2_000 })
  clock.ms = 3_000
  expect(balancer.select()).toBeDefined()
  expect(balancer.isEligible(victim)).toBe(true)
})

test('whoever hears of an ejection finds the backend ejected', () => {
  const { clock, balancer, fail } = setUp(3, { consecutiveFailure: 1, ejectionMs: 10 })
  const seen: (boolean | string)[] = []
  balancer.subscribe((event) => {
    if ('backend' in event) seen.push(event.type, balancer.isEligible(event.backend))
  })
  fail(0, 1)
  clock.ms = 10
  balancer.select()
  expect(seen).toEqual(['ejected', false, 'returned', true])
})

test('a success starts the count again', () => {
  const { balancer, fail } = setUp(4, { consecutiveFailure: 3 })
  fail(0, 2)
  balancer.acquireFor(balancer.backends[0] as Backend)?.release({ ok: true })
  fail(0, 2)
  expect(balancer.summary().eligibleCount).toBe(4)
})

test('what a client or we ourselves caused never counts', () => {
  const { balancer } = setUp(4, { consecutiveFailure: 1 })
  for (const outcome of [
    undefined,
    { ok: false, source: 'downstream' } as const,
    { ok: false, source: 'internal' } as const,
  ]) {
    for (let time = 0; time < 100; time++) balancer.acquire()?.release(outcome)
  }
  expect(balancer.summary().eligibleCount).toBe(4)
})

test('a share of failures in the window ejects, from volumeMin results on', () => {
  const { balancer, fail } = setUp(4, { consecutiveFailure: 0, failurePercent: 50, volumeMin: 10 })
  const first = balancer.backends[0] as Backend
  for (let pair = 0; pair < 4; pair++) {
    balancer.acquireFor(first)?.release({ ok: true })
    fail(0, 1)
  }
  balancer.acquireFor(first)?.release({ ok: true })
  expect(balancer.isEligible(first)).toBe(true)
  fail(0, 1)
  expect(balancer.isEligible(first)).toBe(false)
})

test('never ejects the last usable one, nor more than ejectionPercentMax', () => {
  const { balancer, fail } = setUp(10, { consecutiveFailure: 1, ejectionPercentMax: 30 })
  for (let index = 0; index < 10; index++) fail(index, 5)
  expect(balancer.summary().eligibleCount).toBe(7)
  const lone = setUp(2, { consecutiveFailure: 1, ejectionPercentMax: 100 })
  lone.fail(0, 5)
  lone.fail(1, 5)
  expect(lone.balancer.summary().eligibleCount).toBe(1)
})

test('ejection never brings a set below its panic threshold, whatever fails', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 0, max: 100 }),
      fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 0, max: 40_000 })), { maxLength: 60 }),
      (count, panicPercent, failures) => {
        const { clock, balancer, fail } = setUp(
          count,
          { consecutiveFailure: 1, ejectionPercentMax: 100 },
          panicPercent,
        )
        for (const [index, ms] of failures) {
          fail(index % count, 1)
          const { backends, panicking } = balancer.summary()
          const left = backends.filter(({ ejected }) => !ejected).length
          expect(left).toBeGreaterThanOrEqual(Math.max(1, Math.ceil((panicPercent * count) / 100)))
          expect(panicking).toEqual([])
          expect(balancer.select()).toBeDefined()
          clock.ms += ms
        }
        clock.ms += 300_000
        expect(balancer.summary().eligibleCount).toBe(count)
      },
    ),
    { numRuns: 60 },
  )
})

test('the back-off is bounded, and forgotten by one that behaves', () => {
  const state = new OutlierState(outlierSettings({ ejectionMs: 1_000, ejectionMsMax: 5_000 }))
  let now = 0
  const lengths: number[] = []
  for (let time = 0; time < 5; time++) {
    lengths.push(state.eject(now))
    now = state.ejectedUntil
  }
  expect(lengths).toEqual([1_000, 2_000, 4_000, 5_000, 5_000])
  expect(state.eject(now + 60_000)).toBe(1_000)
})

test('no backend is starved: with failures at random, each gets its turn again', () => {
  const clock = new Clock()
  const draw = seededRandom(11)
  const balancer = LoadBalancer.fromAddresses(addresses(6), random(), {
    now: clock.now,
    random: draw,
    outlier: { consecutiveFailure: 2, ejectionMs: 100, ejectionMsMax: 1_000 },
    circuitBreaker: { volumeMin: 5, openMs: 100 },
  })
  const since = new Map<string, number>()
  for (let step = 0; step < 20_000; step++) {
    clock.ms += 1
    const lease = balancer.acquire() as Lease
    expect(lease).toBeDefined()
    since.set(lease.backend.address, clock.ms)
    lease.release(draw() < 0.3 ? failed : { ok: true })
    if (step < 3_000) continue
    for (const at of since.values()) expect(clock.ms - at).toBeLessThan(3_000)
  }
  expect(since.size).toBe(6)
})
