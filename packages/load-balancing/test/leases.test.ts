import { Backend, type Lease, LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { expect, test } from 'vitest'
import { addresses, Clock, seededRandom, shares } from './helpers.ts'

const inFlightOf = (balancer: LoadBalancer) => balancer.summary().backends.map(({ inFlight }) => inFlight)

test('a lease counts until it is released, once', () => {
  const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin())
  const lease = balancer.acquire() as Lease
  expect(lease.held).toBe(true)
  expect(inFlightOf(balancer)).toEqual([1, 0])
  lease.release({ ok: true })
  lease.release({ ok: false })
  expect(lease.held).toBe(false)
  expect(inFlightOf(balancer)).toEqual([0, 0])
  {
    using _second = balancer.acquire() as Lease
    expect(inFlightOf(balancer)).toEqual([0, 1])
  }
  expect(inFlightOf(balancer)).toEqual([0, 0])
})

test('a backend at its cap is passed over; the backend’s own cap comes before the balancer’s', () => {
  const [first, second] = addresses(2) as [string, string]
  const balancer = LoadBalancer.fromBackends([new Backend(first, { inFlightMax: 1 }), second], roundRobin(), {
    inFlightMax: 3,
  })
  const leases = Array.from({ length: 4 }, () => balancer.acquire() as Lease)
  expect(inFlightOf(balancer)).toEqual([1, 3])
  expect(balancer.acquire()).toBeUndefined()
  expect(String(balancer.summary())).toMatch(/0 of 2 backends eligible.*at its cap/)
  leases.find((lease) => lease.backend.address === second)?.release()
  expect(balancer.acquire()?.backend.address).toBe(second)
})

test('a request waits for a backend below its cap, first come first served', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  const holder = (await balancer.acquireOrWait()) as Lease
  const order: string[] = []
  const wait = async (name: string) => {
    const lease = (await balancer.acquireOrWait()) as Lease
    order.push(name)
    lease.release()
  }
  const waiting = Promise.all([wait('a'), wait('b'), wait('c')])
  expect(balancer.waitingCount).toBe(3)
  holder.release()
  await waiting
  expect(order).toEqual(['a', 'b', 'c'])
  expect(balancer.waitingCount).toBe(0)
  expect(inFlightOf(balancer)).toEqual([0])
})

test('waiting ends with a reason: queue-full, queue-timeout, aborted, closed, no-backend', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), {
    inFlightMax: 1,
    queueMax: 2,
    queueTimeoutMs: 20,
  })
  const holder = balancer.acquire() as Lease
  const startedAt = performance.now()
  const first = balancer.acquireOrWait()
  const second = balancer.acquireOrWait()
  expect(await balancer.acquireOrWait()).toBe('queue-full')
  expect(await first).toBe('queue-timeout')
  expect(await second).toBe('queue-timeout')
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(19)

  const controller = new AbortController()
  const third = balancer.acquireOrWait('key', { signal: controller.signal })
  controller.abort()
  expect(await third).toBe('aborted')
  expect(await balancer.acquireOrWait('key', { signal: controller.signal })).toBe('aborted')
  expect(balancer.waitingCount).toBe(0)

  const fourth = balancer.acquireOrWait()
  balancer.close()
  expect(await fourth).toBe('closed')
  expect(await balancer.acquireOrWait()).toBe('closed')
  holder.release()

  const down = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  down.setEnabled(addresses(1)[0] as string, false)
  expect(await down.acquireOrWait()).toBe('no-backend')
  expect(await LoadBalancer.fromAddresses([], roundRobin()).acquireOrWait()).toBe('no-backend')
})

test('what is no signal is refused when the request would wait', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  using _held = balancer.acquire()
  const wrong = { signal: new AbortController() as unknown as AbortSignal }
  await expect(balancer.acquireOrWait(undefined, wrong)).rejects.toThrow(
    /Expected signal to be an AbortSignal/,
  )
  expect(balancer.waitingCount).toBe(0)
})

test('a queue of none refuses at once', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1, queueMax: 0 })
  balancer.acquire()
  expect(await balancer.acquireOrWait()).toBe('queue-full')
})

test('one that is put back into service serves those who wait', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin(), { inFlightMax: 1 })
  const [first, second] = addresses(2) as [string, string]
  balancer.setEnabled(second, false)
  balancer.acquire()
  const waiting = balancer.acquireOrWait()
  balancer.setEnabled(second, true)
  expect(((await waiting) as Lease).backend.address).toBe(second)
  expect(balancer.setEnabled('192.0.2.1:80', true)).toBe(false)
  expect(balancer.isEligible(first)).toBe(false)
})

test('a waiting request that accepts none of the free ones does not stop the others', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  const holder = balancer.acquire() as Lease
  const picky = balancer.acquireOrWait(undefined, { accept: () => false })
  const easy = balancer.acquireOrWait()
  holder.release()
  expect(await easy).toBeTypeOf('object')
  expect(balancer.waitingCount).toBe(1)
  balancer.close()
  expect(await picky).toBe('closed')
})

test('a waiting request whose accept throws fails alone, and not the one that released', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  const holder = balancer.acquire() as Lease
  let calls = 0
  const broken = balancer.acquireOrWait(undefined, {
    accept: (_backend, eligible) => {
      if (++calls > 1) throw new Error('my accept is broken')
      return eligible
    },
  })
  const fine = balancer.acquireOrWait()
  expect(() => holder.release()).not.toThrow()
  await expect(broken).rejects.toThrow('my accept is broken')
  expect(await fine).toBeTypeOf('object')
})

test('a waiting request that ends its own wait while it is served takes no lease', async () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { inFlightMax: 1 })
  const held = balancer.acquire()
  const controller = new AbortController()
  const leaving = balancer.acquireOrWait(undefined, {
    signal: controller.signal,
    accept: (_backend, eligible) => {
      if (eligible) controller.abort()
      return eligible
    },
  })
  const next = balancer.acquireOrWait()
  held?.release()
  expect(await leaving).toBe('aborted')
  expect(await next).toMatchObject({ held: true })
  expect(balancer.summary().backends[0]?.inFlight).toBe(1)
})

test('connections are capped for each backend', () => {
  const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin(), { connectionsMax: 2 })
  const [first, second] = balancer.backends as [Backend, Backend]
  const held = balancer.acquireConnection(first)
  balancer.acquireConnection(first)
  expect(balancer.acquireConnection(first)).toBeUndefined()
  expect(balancer.acquireConnection(second)).toBeDefined()
  held?.release()
  held?.release()
  expect(balancer.acquireConnection(first)).toBeDefined()
  expect(balancer.acquireConnection(first)).toBeUndefined()
  expect(balancer.acquireConnection(new Backend('192.0.2.1:80'))).toBeUndefined()
})

test('requests in flight survive that a backend leaves and comes back', async () => {
  const [first, second] = addresses(2) as [string, string]
  let set = [first, second]
  const balancer = new LoadBalancer(() => set, roundRobin(), { inFlightMax: 1 })
  await balancer.update()
  const lease = balancer.acquireFor(balancer.backends[0] as Backend) as Lease
  set = [second]
  await balancer.update()
  expect(balancer.acquireFor(lease.backend)).toBeUndefined()
  set = [first, second]
  await balancer.update()
  expect(inFlightOf(balancer)).toEqual([1, 0])
  expect(balancer.isEligible(first)).toBe(false)
  lease.release({ ok: true })
  expect(inFlightOf(balancer)).toEqual([0, 0])
  expect(balancer.isEligible(first)).toBe(true)
})

test('a backend that left is forgotten with its last lease or connection', async () => {
  const [first, second] = addresses(2) as [string, string]
  let set = [first, second]
  const balancer = new LoadBalancer(() => set, roundRobin(), { inFlightMax: 1 })
  await balancer.update()
  const lease = balancer.acquireFor(balancer.backends[0] as Backend) as Lease
  using connection = balancer.acquireConnection(lease.backend)
  set = [second]
  await balancer.update()
  lease.release({ ok: false })
  connection?.release()
  set = [first, second]
  await balancer.update()
  const again = balancer.acquireFor(balancer.backends[0] as Backend) as Lease
  set = [second]
  await balancer.update()
  again.release({ ok: true })
  set = [first, second]
  await balancer.update()
  expect(inFlightOf(balancer)).toEqual([0, 0])
  expect(balancer.isEligible(first)).toBe(true)
})

test('an open breaker takes a backend out until its probes succeed', () => {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin(), {
    now: clock.now,
    circuitBreaker: { volumeMin: 3, openMs: 1_000, probeSuccessCount: 1 },
  })
  const events: string[] = []
  balancer.subscribe(({ type }) => events.push(type))
  const [bad, good] = balancer.backends as [Backend, Backend]
  for (let time = 0; time < 3; time++) balancer.acquireFor(bad)?.release({ ok: false })
  for (let turn = 0; turn < 6; turn++) expect(balancer.select()).toBe(good)
  clock.ms = 1_000
  const probe = balancer.acquire(undefined, { accept: (backend, eligible) => eligible && backend === bad })
  expect(probe?.backend).toBe(bad)
  for (let turn = 0; turn < 6; turn++) expect(balancer.select()).toBe(good)
  probe?.release({ ok: true })
  expect(balancer.isEligible(bad)).toBe(true)
  expect(events).toEqual(['breaker-open', 'breaker-half-open', 'breaker-closed'])
})

test('a breaker whose only probe is lost recovers all the same', () => {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), {
    now: clock.now,
    circuitBreaker: { volumeMin: 1, openMs: 10, probeSuccessCount: 1, probeTimeoutMs: 100 },
  })
  balancer.acquire()?.release({ ok: false })
  expect(balancer.acquire()).toBeUndefined()
  clock.ms = 10
  const lost = balancer.acquire()
  expect(lost).toBeDefined()
  expect(balancer.acquire()).toBeUndefined()
  clock.ms = 110
  balancer.acquire()?.release({ ok: true })
  expect(balancer.acquire()).toBeDefined()
})

test('slow start: a backend that is back gets a growing share', async () => {
  const clock = new Clock()
  let set = addresses(1)
  const balancer = new LoadBalancer(() => set, roundRobin(), {
    now: clock.now,
    random: seededRandom(2),
    slowStartMs: 10_000,
    slowStartPercentMin: 10,
  })
  await balancer.update()
  set = addresses(2)
  await balancer.update()
  const added = set[1] as string
  const shareAt = (ms: number) => {
    clock.ms = ms
    return (shares(balancer, 2_000).get(added) ?? 0) / 2_000
  }
  // As if its weight were a tenth, a half, and all of the other's.
  expect(Math.abs(shareAt(0) - 1 / 11)).toBeLessThan(0.03)
  expect(Math.abs(shareAt(5_000) - 1 / 3)).toBeLessThan(0.03)
  expect(shareAt(10_000)).toBe(0.5)
})

test('slow start: one that is alone takes everything', () => {
  const clock = new Clock()
  const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin(), {
    now: clock.now,
    slowStartMs: 10_000,
    outlier: { consecutiveFailure: 1, ejectionMs: 1_000 },
  })
  const [first, second] = balancer.backends as [Backend, Backend]
  balancer.acquireFor(first)?.release({ ok: false })
  clock.ms = 1_000
  balancer.select()
  balancer.setEnabled(second, false)
  for (let turn = 0; turn < 100; turn++) expect(balancer.select()).toBe(first)
})
