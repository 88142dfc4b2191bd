import {
  type Backend,
  type Lease,
  LoadBalancer,
  leastRequests,
  peakEwma,
  powerOfTwoChoices,
  random,
} from '@cirque/load-balancing'
import { expect, test } from 'vitest'
import { addresses, Clock, seededRandom, shares, weighted } from './helpers.ts'

const inFlightOf = (balancer: LoadBalancer) => balancer.summary().backends.map(({ inFlight }) => inFlight)

test('least requests keeps every backend at its share, whatever ends when', () => {
  const balancer = LoadBalancer.fromBackends(weighted([1, 2, 3]), leastRequests(), {
    random: seededRandom(3),
  })
  const draw = seededRandom(4)
  const held: Lease[] = []
  for (let step = 0; step < 3_000; step++) {
    if (held.length < 60) {
      held.push(balancer.acquire() as Lease)
      const [a = 0, b = 0, c = 0] = inFlightOf(balancer)
      if (step < 60) expect(Math.max(a, b / 2, c / 3) - Math.min(a, b / 2, c / 3)).toBeLessThanOrEqual(1)
    } else held.splice(Math.floor(draw() * held.length), 1)[0]?.release({ ok: true })
  }
  expect(held).toHaveLength(60)
})

test('least requests prefers the one that is idle', () => {
  const balancer = LoadBalancer.fromAddresses(addresses(3), leastRequests())
  const [a, , c] = balancer.backends as [Backend, Backend, Backend]
  balancer.acquireFor(a)
  balancer.acquireFor(c)
  for (let round = 0; round < 10; round++)
    expect(balancer.select()?.address).toBe(balancer.backends[1]?.address)
})

test('two choices hold the load far more even than one random choice', () => {
  const spread = (selection: ReturnType<typeof random>) => {
    const balancer = LoadBalancer.fromAddresses(addresses(50), selection, { random: seededRandom(9) })
    for (let request = 0; request < 5_000; request++) balancer.acquire()
    const counts = inFlightOf(balancer)
    return Math.max(...counts) - Math.min(...counts)
  }
  expect(spread(powerOfTwoChoices())).toBeLessThan(15)
  expect(spread(random())).toBeGreaterThan(25)
})

test('a random choice shares what an ineligible heavy backend leaves by weight', () => {
  const balancer = LoadBalancer.fromBackends(weighted([60_000, 1, 3]), random(), { random: seededRandom(5) })
  balancer.setEnabled('10.0.0.0:80', false)
  const counts = shares(balancer, 4_000)
  expect(counts.get('10.0.0.2:80')).toBeGreaterThan(2_850)
  expect(counts.get('10.0.0.2:80')).toBeLessThan(3_150)
})

test('peak EWMA turns away from a slow backend after one answer, and comes back as it forgets', () => {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(2), peakEwma(), {
    now: clock.now,
    random: seededRandom(1),
    latencyDecayMs: 1_000,
  })
  const [fast, slow] = balancer.backends as [Backend, Backend]
  balancer.acquireFor(fast)?.release({ ok: true, latencyMs: 10 })
  balancer.acquireFor(slow)?.release({ ok: true, latencyMs: 500 })
  const chosenOf = (count: number) => shares(balancer, count)
  expect(chosenOf(100).get(fast.address)).toBeGreaterThan(60)
  clock.ms += 10
  // While the fast one keeps answering, the other one's estimate decays below it after about four decay times.
  for (let step = 0; step < 6; step++) {
    clock.ms += 1_000
    balancer.acquireFor(fast)?.release({ ok: true, latencyMs: 10 })
  }
  expect(chosenOf(100).get(slow.address)).toBeGreaterThan(60)
})

test('a backend that fails fast does not look fast', () => {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(1), peakEwma(), { now: clock.now })
  balancer.acquire()?.release({ ok: true, latencyMs: 50 })
  clock.ms += 1_000
  balancer.acquire()?.release({ ok: false, source: 'upstream', latencyMs: 1 })
  balancer.acquire()?.release({ ok: false, source: 'downstream', latencyMs: 1 })
  expect(balancer.summary().backends[0]?.latencyMs).toBeGreaterThan(40)
  balancer.acquire()?.release({ ok: false, source: 'upstream', latencyMs: 5_000 })
  expect(balancer.summary().backends[0]?.latencyMs).toBe(5_000)
})
