import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { ConcurrencyLimit, type ConcurrencyLimitOptions, type Permit } from '../src/index.ts'

describe.each([false, true])('shared: %s', (shared) => {
  function start(options: ConcurrencyLimitOptions) {
    const memory = shared ? { memory: new SharedArrayBuffer(ConcurrencyLimit.byteLength(options)) } : {}
    return new ConcurrencyLimit({ ...options, ...memory })
  }

  test('lets n in at once and n + 1 wait', async () => {
    const limit = start({ limit: 2 })
    const first = limit.acquire() as Permit
    const second = limit.tryAcquire()
    expect([first.granted, second?.granted, limit.active]).toEqual([true, true, 2])
    expect(limit.tryAcquire()).toBeUndefined()
    const third = limit.acquire()
    expect([third instanceof Promise, limit.queued]).toEqual([true, 1])
    first.release()
    first.release()
    expect((await third).outcome).toBe('granted')
    expect([limit.active, limit.queued]).toEqual([2, 0])
    second?.release()
    ;(await third).release()
    expect(limit.active).toBe(0)
  })

  test('first come, first served, and nobody overtakes the queue', async () => {
    const limit = start({ limit: 1 })
    const held = limit.acquire() as Permit
    const order: number[] = []
    const waiting = [1, 2, 3].map(async (index) => {
      using permit = await limit.acquire()
      expect(permit.granted).toBe(true)
      order.push(index)
    })
    held.release()
    await Promise.all(waiting)
    expect(order).toEqual([1, 2, 3])
    expect(limit.active).toBe(0)
  })

  test('the queue is bounded: n wait, n + 1 is turned away at once', async () => {
    const limit = start({ limit: 1, queueMax: 2 })
    const held = limit.acquire() as Permit
    const waiting = [limit.acquire(), limit.acquire()]
    const refused = limit.acquire() as Permit
    expect([refused.granted, refused.outcome]).toEqual([false, 'queue-full'])
    refused.release()
    expect(limit.active).toBe(1)
    held.release()
    for (const permit of waiting) (await permit).release()
    const none = start({ limit: 1, queueMax: 0 })
    none.tryAcquire()
    expect((none.acquire() as Permit).outcome).toBe('queue-full')
  })

  test('what is no signal is refused at once, and costs no permit later', async () => {
    const limit = start({ limit: 1 })
    const wrong = { signal: new AbortController() as unknown as AbortSignal }
    expect(() => limit.acquire(wrong)).toThrow(
      'signal must be an AbortSignal, received [object AbortController]',
    )
    const held = limit.acquire() as Permit
    expect(() => limit.acquire(wrong)).toThrow(TypeError)
    expect(limit.queued).toBe(0)
    held.release()
    expect([limit.active, limit.tryAcquire()?.granted]).toEqual([0, true])
  })

  test('a caller waits no longer than the queue timeout, and each has its own', async () => {
    const limit = start({ limit: 1, queueTimeoutMs: 30 })
    const held = limit.acquire() as Permit
    const startedMs = performance.now()
    const first = limit.acquire()
    const later = new Promise<Permit>((resolve) => {
      setTimeout(() => resolve(limit.acquire()), 15)
    })
    expect((await first).outcome).toBe('timeout')
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(28)
    expect((await later).outcome).toBe('timeout')
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(43)
    expect([limit.queued, limit.active]).toEqual([0, 1])
    held.release()
    expect(limit.tryAcquire()?.granted).toBe(true)
  })

  test('an abort ends the wait, keeps the order of the rest, and leaves no listener', async () => {
    const limit = start({ limit: 1 })
    const held = limit.acquire() as Permit
    const controller = new AbortController()
    const first = limit.acquire({ signal: controller.signal })
    const second = limit.acquire({ signal: new AbortController().signal })
    const third = limit.acquire({ signal: controller.signal })
    controller.abort()
    expect((await first).outcome).toBe('aborted')
    expect((await third).outcome).toBe('aborted')
    expect((limit.acquire({ signal: controller.signal }) as Permit).outcome).toBe('aborted')
    held.release()
    using permit = await second
    expect(permit.granted).toBe(true)
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
  })

  test('any order of acquiring, releasing and aborting keeps to the limit and ends empty', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.constantFrom('acquire', 'release', 'abort'), { maxLength: 40 }),
        async (permits, acts) => {
          const limit = start({ limit: permits, queueMax: 5 })
          const held: Permit[] = []
          const waits: { controller: AbortController; done: Promise<void> }[] = []
          for (const act of acts) {
            if (act === 'acquire') {
              const controller = new AbortController()
              const take = (permit: Permit) => {
                if (permit.granted) held.push(permit)
              }
              const permit = limit.acquire({ signal: controller.signal })
              if (permit instanceof Promise) waits.push({ controller, done: permit.then(take) })
              else take(permit)
            } else if (act === 'release') held.shift()?.release()
            else waits[0]?.controller.abort()
            await Promise.resolve()
            expect(limit.active).toBeLessThanOrEqual(permits)
            expect(limit.queued).toBeLessThanOrEqual(5)
          }
          for (const { controller } of waits) controller.abort()
          await Promise.all(waits.map(({ done }) => done))
          for (const permit of held) permit.release()
          expect([limit.active, limit.queued]).toEqual([0, 0])
        },
      ),
      { numRuns: 60 },
    )
  })
})

test('permits of a dead lane come back, and a waiter gets one', async () => {
  const options = { limit: 2, lanes: 2 }
  const memory = new SharedArrayBuffer(ConcurrencyLimit.byteLength(options))
  const dead = new ConcurrencyLimit({ ...options, memory, lane: 0 })
  const alive = new ConcurrencyLimit({ ...options, memory, lane: 1 })
  dead.tryAcquire()
  dead.tryAcquire()
  const waiting = alive.acquire()
  alive.releaseLane(0)
  expect((await waiting).granted).toBe(true)
  expect(alive.active).toBe(1)
})

test('a release in one limiter wakes a waiter in another on the same memory', async () => {
  const memory = new SharedArrayBuffer(ConcurrencyLimit.byteLength())
  const one = new ConcurrencyLimit({ limit: 1, memory })
  const two = new ConcurrencyLimit({ limit: 1, memory })
  for (let round = 0; round < 20; round++) {
    const held = one.tryAcquire()
    const waiting = two.acquire()
    held?.release()
    using permit = await waiting
    expect(permit.granted).toBe(true)
  }
})

test('a permit that comes free between the look and the wait is not missed, although an earlier ear is open', async () => {
  const memory = new SharedArrayBuffer(ConcurrencyLimit.byteLength())
  const here = new ConcurrencyLimit({ limit: 1, memory, queueTimeoutMs: 10_000 })
  const there = new ConcurrencyLimit({ limit: 1, memory })
  const held = there.acquire() as Permit
  // A waiter that left: the thread still listens for it.
  const controller = new AbortController()
  const left = here.acquire({ signal: controller.signal })
  controller.abort()
  expect((await left).outcome).toBe('aborted')
  // The other thread gives its permit back after this one found none, and before it counts as waiting.
  const clock = vi.spyOn(performance, 'now').mockImplementationOnce(() => {
    held.release()
    return 0
  })
  const waiting = here.acquire()
  clock.mockRestore()
  const permit = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 1_000, 'missed'))])
  expect(permit).toMatchObject({ outcome: 'granted' })
})

test('refuses what is out of bounds', () => {
  for (const limit of [0, 1.5, 2 ** 30 + 1]) expect(() => new ConcurrencyLimit({ limit })).toThrow(RangeError)
  for (const queueMax of [-1, 0.5, 2 ** 20 + 1])
    expect(() => new ConcurrencyLimit({ limit: 1, queueMax })).toThrow(RangeError)
  for (const queueTimeoutMs of [0, 2 ** 31]) {
    expect(() => new ConcurrencyLimit({ limit: 1, queueTimeoutMs })).toThrow(RangeError)
  }
  expect(() => new ConcurrencyLimit({ limit: 1, lanes: 0 })).toThrow(RangeError)
  expect(() => new ConcurrencyLimit({ limit: 1, lane: 1 })).toThrow(RangeError)
  expect(ConcurrencyLimit.byteLength({ lanes: 3 })).toBe(76)
})
