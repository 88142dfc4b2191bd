import { Backend, type BalancerEvent, LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { expect, test } from 'vitest'
import { addresses, shares } from './helpers.ts'

const tiers = (...priorities: number[]) =>
  addresses(priorities.length).map(
    (address, index) => new Backend(address, { priority: priorities[index] ?? 0 }),
  )

test('backups serve only while no primary can', () => {
  const backends = tiers(0, 0, 1, 2)
  const balancer = LoadBalancer.fromBackends(backends, roundRobin())
  const [a, b, c, d] = backends as [Backend, Backend, Backend, Backend]
  expect([...shares(balancer, 10).keys()].sort()).toEqual([a.address, b.address])
  balancer.setEnabled(a, false)
  expect([...shares(balancer, 10).keys()]).toEqual([b.address])
  balancer.setEnabled(b, false)
  expect([...shares(balancer, 10).keys()]).toEqual([c.address])
  balancer.setEnabled(c, false)
  expect([...shares(balancer, 10).keys()]).toEqual([d.address])
  balancer.setEnabled(d, false)
  expect(balancer.select()).toBeUndefined()
  balancer.setEnabled(a, true)
  expect([...shares(balancer, 10).keys()]).toEqual([a.address])
})

test('a primary at its cap overflows to the backup', () => {
  const [a, b] = tiers(0, 1) as [Backend, Backend]
  const balancer = LoadBalancer.fromBackends([a, b], roundRobin(), { inFlightMax: 1 })
  expect(balancer.acquire()?.backend).toBe(a)
  expect(balancer.acquire()?.backend).toBe(b)
})

test('accept is offered the groups in order of priority', () => {
  const backends = tiers(5, 0, 3)
  const balancer = LoadBalancer.fromBackends(backends, roundRobin())
  const offered: number[] = []
  balancer.select(undefined, {
    accept: ({ priority }) => {
      offered.push(priority)
      return false
    },
  })
  expect(offered).toEqual([0, 3, 5])
})

async function withHealth(backends: Backend[], panicPercent: number) {
  const down = new Set<string>()
  const balancer = LoadBalancer.fromBackends(backends, roundRobin(), { panicPercent })
  balancer.setHealthCheck({
    consecutiveSuccess: 1,
    consecutiveFailure: 1,
    check: async ({ address }) => {
      if (down.has(address)) throw new Error('down')
    },
  })
  const events: BalancerEvent[] = []
  balancer.subscribe((event) => events.push(event))
  const setDown = async (...backendsDown: Backend[]) => {
    down.clear()
    for (const { address } of backendsDown) down.add(address)
    await balancer.runHealthCheck()
  }
  return { balancer, events, setDown }
}

test('panic: with too few usable, all are used again, disabled ones excepted', async () => {
  const backends = tiers(0, 0, 0, 0)
  const [a, b, c, d] = backends as [Backend, Backend, Backend, Backend]
  const { balancer, events, setDown } = await withHealth(backends, 50)
  await setDown(a, b)
  expect([...shares(balancer, 12).keys()].sort()).toEqual([c.address, d.address])
  await setDown(a, b, c)
  expect(shares(balancer, 12).size).toBe(4)
  expect(balancer.summary().panicking).toEqual([0])
  balancer.setEnabled(a, false)
  // 1 of the 3 that are enabled: still below half.
  expect([...shares(balancer, 12).keys()].sort()).toEqual([b.address, c.address, d.address])
  await setDown(a)
  expect([...shares(balancer, 12).keys()].sort()).toEqual([b.address, c.address, d.address])
  expect(events.filter(({ type }) => type === 'panic')).toEqual([
    { type: 'panic', priority: 0, panicking: true },
    { type: 'panic', priority: 0, panicking: false },
  ])
})

test('without a panic threshold nothing serves when all are down', async () => {
  const backends = tiers(0, 0)
  const { balancer, setDown } = await withHealth(backends, 0)
  await setDown(...backends)
  expect(balancer.select()).toBeUndefined()
  expect(await balancer.acquireOrWait()).toBe('no-backend')
})

test('a healthy backup comes before primaries in panic', async () => {
  const backends = tiers(0, 0, 1)
  const [a, b, c] = backends as [Backend, Backend, Backend]
  const { balancer, setDown } = await withHealth(backends, 60)
  await setDown(a, b)
  expect([...shares(balancer, 6).keys()]).toEqual([c.address])
  await setDown(a, b, c)
  expect([...shares(balancer, 6).keys()].sort()).toEqual([a.address, b.address])
})
