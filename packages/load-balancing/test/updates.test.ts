import {
  Backend,
  type BalancerEvent,
  type Discovery,
  ketama,
  LISTENERS_MAX,
  LoadBalancer,
  maglev,
  roundRobin,
  type Selection,
  StaticDiscovery,
} from '@cirque/load-balancing'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Alarm } from '../src/alarm.ts'
import { addresses, weighted } from './helpers.ts'

const textOf = (balancer: LoadBalancer) => balancer.backends.map(({ address }) => address)

test('a balancer over a function is empty before its first update', async () => {
  const balancer = new LoadBalancer(async () => addresses(2), roundRobin())
  expect(balancer.select()).toBeUndefined()
  await balancer.update()
  expect(textOf(balancer)).toEqual(addresses(2))
  expect(balancer.lastUpdateTiming?.buildMs).toBeGreaterThanOrEqual(0)
  expect(balancer.lastUpdateTiming?.discoveryMs).toBeGreaterThanOrEqual(0)
})

test('a failed update keeps the last good set and says so', async () => {
  const answers: (() => string[])[] = [
    () => addresses(3),
    () => {
      throw new Error('DNS is down')
    },
    () => ['10.0.0.1:80', 'nonsense'],
    () => ['10.0.0.1:80', '10.0.0.1:80'],
    () => null as never,
    () => addresses(2),
  ]
  const balancer = new LoadBalancer(() => (answers.shift() as () => string[])(), roundRobin())
  const events: BalancerEvent[] = []
  balancer.subscribe((event) => events.push(event))
  await balancer.update()
  await expect(balancer.update()).rejects.toThrow('DNS is down')
  await expect(balancer.update()).rejects.toThrow(/nonsense/)
  await expect(balancer.update()).rejects.toThrow(/listed twice/)
  await expect(balancer.update()).rejects.toThrow(TypeError)
  expect(textOf(balancer)).toEqual(addresses(3))
  expect(balancer.select()).toBeDefined()
  await balancer.update()
  expect(textOf(balancer)).toEqual(addresses(2))
  expect(events.map(({ type }) => type)).toEqual([
    'updated',
    'update-failed',
    'update-failed',
    'update-failed',
    'update-failed',
    'updated',
  ])
  const last = events.at(-1)
  expect(last?.type === 'updated' && last.removed.map(String)).toEqual(['10.0.0.2:80'])
})

test('a selection that fails to build leaves the last good set in place', async () => {
  let count = 2
  const balancer = new LoadBalancer(() => addresses(count), maglev({ tableSize: 3 }))
  await balancer.update()
  count = 3
  await expect(balancer.update()).rejects.toThrow(/too small/)
  expect(balancer.backends).toHaveLength(2)
  expect(balancer.select('a')).toBeDefined()
})

test('backendsMax is a limit: n passes, n + 1 keeps the last good set', async () => {
  let count = 8
  const balancer = new LoadBalancer(() => addresses(count), roundRobin(), { backendsMax: 8 })
  await balancer.update()
  count = 9
  await expect(balancer.update()).rejects.toThrow(/9 backends are more than backendsMax 8/)
  expect(balancer.backends).toHaveLength(8)
})

test('health and hand-made state survive an update; what is attached to a backend is the newest', async () => {
  let version = 1
  const source = () => addresses(3).map((address) => new Backend(address, { metadata: { version } }))
  const balancer = new LoadBalancer(source, roundRobin())
  await balancer.update()
  const [first, second] = addresses(3) as [string, string]
  balancer.setHealthCheck({
    consecutiveSuccess: 1,
    consecutiveFailure: 1,
    check: async ({ address }) => {
      if (address === first) throw new Error('down')
    },
  })
  await balancer.runHealthCheck()
  balancer.setEnabled(second, false)
  version = 2
  await balancer.update()
  expect(balancer.isEligible(first)).toBe(false)
  expect(balancer.isEligible(second)).toBe(false)
  expect(balancer.select()?.metadata).toEqual({ version: 2 })
})

test('discovery may disable backends, and enable them again', async () => {
  const [first, second] = addresses(2) as [string, string]
  let disabled: string[] | undefined = [first]
  const discovery: Discovery = {
    discover: () => ({ backends: addresses(2), ...(disabled === undefined ? {} : { disabled }) }),
  }
  const balancer = new LoadBalancer(discovery, roundRobin())
  await balancer.update()
  expect(balancer.isEligible(first)).toBe(false)
  disabled = []
  await balancer.update()
  expect(balancer.isEligible(first)).toBe(true)
  disabled = ['nonsense']
  await expect(balancer.update()).rejects.toThrow(/nonsense/)
  balancer.setEnabled(second, false)
  disabled = undefined
  await balancer.update()
  expect(balancer.isEligible(second)).toBe(false)
})

test('an unchanged set does not start the turns anew', async () => {
  const balancer = new LoadBalancer(() => weighted([1, 1, 1]), roundRobin())
  await balancer.update()
  const chosen: string[] = []
  for (let turn = 0; turn < 6; turn++) {
    chosen.push(balancer.select()?.address ?? '')
    await balancer.update()
  }
  expect(chosen).toEqual([...addresses(3), ...addresses(3)])
})

test('an update that brings a group into panic, or out of it, says so', async () => {
  let disabled = [] as string[]
  let set = addresses(4)
  const balancer = new LoadBalancer({ discover: () => ({ backends: set, disabled }) }, roundRobin(), {
    panicPercent: 60,
  })
  balancer.setHealthCheck({
    consecutiveSuccess: 1,
    consecutiveFailure: 1,
    check: async ({ address }) => {
      if (address === set[0]) throw new Error('down')
    },
  })
  await balancer.update()
  await balancer.runHealthCheck()
  const panics: boolean[] = []
  balancer.subscribe((event) => event.type === 'panic' && panics.push(event.panicking))
  disabled = set.slice(2)
  await balancer.update()
  set = addresses(6)
  disabled = []
  await balancer.update()
  expect(panics).toEqual([true, false])
})

test('a time to live that is no number fails the update', async () => {
  for (const ttlMs of [Number.NaN, -1, '5' as never]) {
    const balancer = new LoadBalancer({ discover: () => ({ backends: addresses(1), ttlMs }) }, roundRobin())
    await expect(balancer.update()).rejects.toThrow(/ttlMs/)
  }
})

test('there is no moment at which a listed backend cannot be chosen, or the other way round', async () => {
  let generation = 0
  const balancer = new LoadBalancer(
    () => addresses(2_000).slice(generation % 3, 1_000 + 300 * (++generation % 3)),
    ketama({ pointsPerWeight: 16 }),
  )
  await balancer.update()
  let looks = 0
  const look = () => {
    looks++
    const listed = new Set(textOf(balancer))
    const chosen = new Set<string>()
    balancer.select(`${looks}`, {
      accept: ({ address }) => {
        chosen.add(address)
        return false
      },
    })
    expect(chosen).toEqual(listed)
  }
  for (let round = 0; round < 5; round++) {
    let done = false
    const update = balancer.update().finally(() => {
      done = true
    })
    while (!done) {
      look()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await update
    look()
  }
  expect(looks).toBeGreaterThan(10)
})

test('while an update runs, a second call waits for that one', async () => {
  const answer = Promise.withResolvers<string[]>()
  const discover = vi.fn(() => answer.promise)
  const balancer = new LoadBalancer(discover, roundRobin())
  const both = Promise.all([balancer.update(), balancer.update()])
  answer.resolve(addresses(1))
  await both
  expect(discover).toHaveBeenCalledTimes(1)
})

test('a discovery that never ends is given up after updateTimeoutMs, and its signal aborted', async () => {
  let seen: AbortSignal | undefined
  const balancer = new LoadBalancer(
    (signal) => {
      seen = signal
      return new Promise<string[]>(() => {})
    },
    roundRobin(),
    { updateTimeoutMs: 10 },
  )
  await expect(balancer.update()).rejects.toThrow('Discovery took longer than 10 ms')
  expect(seen?.aborted).toBe(true)
})

describe('the background service', () => {
  const controllers: AbortController[] = []
  afterEach(() => {
    for (const controller of controllers.splice(0)) controller.abort()
  })
  const run = (balancer: LoadBalancer) => {
    const controller = new AbortController()
    controllers.push(controller)
    const ready = Promise.withResolvers<void>()
    const ended = balancer.start(controller.signal, ready.resolve)
    return { ready: ready.promise, ended, stop: () => controller.abort() }
  }

  test('is ready after the first update, and ends at once on shutdown', async () => {
    const balancer = new LoadBalancer(() => addresses(1), roundRobin(), { updateIntervalMs: 3_600_000 })
    const { ready, ended, stop } = run(balancer)
    await ready
    expect(balancer.backends).toHaveLength(1)
    await expect(balancer.start(new AbortController().signal, () => {})).rejects.toThrow(/running already/)
    stop()
    await ended
  })

  test('updates every updateIntervalMs, and sooner when the discovery says so', async () => {
    const third = Promise.withResolvers<void>()
    let calls = 0
    const discover = () => {
      if (++calls === 3) third.resolve()
      return { backends: addresses(1) }
    }
    const { ended, stop } = run(new LoadBalancer({ discover }, roundRobin(), { updateIntervalMs: 5 }))
    await third.promise
    stop()
    await ended

    calls = 0
    const withTtl = Promise.withResolvers<void>()
    const discoverTtl = () => {
      if (++calls === 3) withTtl.resolve()
      return { backends: addresses(1), ttlMs: 1 }
    }
    const second = run(new LoadBalancer({ discover: discoverTtl }, roundRobin()))
    await withTtl.promise
    second.stop()
    await second.ended
  })

  test('updates when the discovery’s watch calls, and stops watching at shutdown', async () => {
    let change = () => {}
    const unwatch = vi.fn()
    let count = 1
    const updated = Promise.withResolvers<void>()
    const discovery: Discovery = {
      discover: () => ({ backends: addresses(count) }),
      watch: (changed) => {
        change = changed
        return unwatch
      },
    }
    const balancer = new LoadBalancer(discovery, roundRobin())
    const { ready, ended, stop } = run(balancer)
    await ready
    balancer.subscribe(({ type }) => type === 'updated' && updated.resolve())
    count = 2
    change()
    await updated.promise
    expect(balancer.backends).toHaveLength(2)
    stop()
    await ended
    expect(unwatch).toHaveBeenCalledTimes(1)
  })

  test('a change that comes while an update of the user’s runs is not lost', async () => {
    let change = () => {}
    let count = 1
    const source = Promise.withResolvers<void>()
    const discovery: Discovery = {
      discover: async () => {
        const backends = addresses(count) // read now, told later
        if (count === 2) await source.promise
        return { backends }
      },
      watch: (changed) => {
        change = changed
        return () => {}
      },
    }
    const balancer = new LoadBalancer(discovery, roundRobin())
    const { ready, ended, stop } = run(balancer)
    await ready
    const updated = Promise.withResolvers<void>()
    balancer.subscribe(() => balancer.backends.length === 3 && updated.resolve())
    count = 2
    const mine = balancer.update()
    count = 3
    change()
    await new Promise(setImmediate)
    source.resolve()
    await mine
    await updated.promise
    expect(balancer.backends).toHaveLength(3)
    stop()
    await ended
  })

  test('starts serving although the first discovery fails', async () => {
    const balancer = new LoadBalancer(() => Promise.reject(new Error('no')), roundRobin())
    const failed = vi.fn()
    balancer.subscribe(failed)
    const { ready, ended, stop } = run(balancer)
    await ready
    expect(failed).toHaveBeenCalledWith(expect.objectContaining({ type: 'update-failed' }))
    stop()
    await ended
  })

  test('is a service of a server', () => {
    const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin(), { name: 'api' })
    const service = balancer.backgroundService()
    expect(service.name).toBe('BG api')
    expect(service.task).toBe(balancer)
  })
})

/** Processor time of this thread in the longest turn of the event loop until `work` ends. */
async function longestStepMs(work: Promise<void>): Promise<number> {
  let longest = 0
  let done = false
  const ended = work.finally(() => {
    done = true
  })
  let before = process.threadCpuUsage()
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve))
    const { user, system } = process.threadCpuUsage(before)
    longest = Math.max(longest, (user + system) / 1_000)
    before = process.threadCpuUsage()
  }
  await ended
  return longest
}

describe('10,000 backends', () => {
  const many = weighted(addresses(10_000).map((_, index) => 1 + (index % 3)))
  const kinds: [string, Selection][] = [
    ['round robin', roundRobin()],
    ['Maglev', maglev()],
    ['ketama', ketama({ pointsPerWeight: 40 })],
  ]
  test.each(kinds)('update without holding the event loop (%s)', async (_name, selection) => {
    let set = many.slice(1)
    const discovery: Discovery = { discover: () => ({ backends: set.map(({ address }) => address) }) }
    const balancer = new LoadBalancer(discovery, selection)
    const longest: number[] = []
    for (let round = 0; round < 4; round++) {
      set = round % 2 === 0 ? many.toReversed() : many.slice(2)
      longest.push(await longestStepMs(balancer.update()))
      expect(balancer.backends).toHaveLength(set.length)
    }
    // A collection of garbage may fall into one step of one update; a step that is too long would be so in each.
    expect(Math.min(...longest)).toBeLessThan(10)
  })
})

test('a static discovery checks its addresses at once', () => {
  expect(() => new StaticDiscovery(['nonsense'])).toThrow(TypeError)
  expect(new StaticDiscovery(addresses(2)).discover().backends).toHaveLength(2)
})

test('a listener’s error is a warning, and the others still hear', async () => {
  const warned = Promise.withResolvers<Error>()
  process.once('warning', warned.resolve)
  const balancer = new LoadBalancer(() => addresses(1), roundRobin())
  const heard = vi.fn()
  balancer.subscribe(() => {
    throw new Error('my listener is broken')
  })
  const unsubscribe = balancer.subscribe(heard)
  await balancer.update()
  expect((await warned.promise).message).toBe('my listener is broken')
  expect(heard).toHaveBeenCalledTimes(1)
  unsubscribe()
  unsubscribe()
})

test('the rejection of an async listener is a warning too, not an unhandled one', async () => {
  const warned = Promise.withResolvers<Error>()
  const unhandled = vi.fn()
  process.once('warning', warned.resolve)
  process.on('unhandledRejection', unhandled)
  const balancer = new LoadBalancer(() => addresses(1), roundRobin())
  balancer.subscribe(async () => {
    throw new Error('my listener is broken later')
  })
  await balancer.update()
  expect((await warned.promise).message).toBe('my listener is broken later')
  await new Promise(setImmediate)
  process.off('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
})

test('a discovery that aborts its update and throws at once is one failure, handled', async () => {
  const unhandled = vi.fn()
  process.on('unhandledRejection', unhandled)
  const shutdown = new AbortController()
  const discover = () => {
    shutdown.abort(new Error('ending'))
    throw new Error('no set')
  }
  const balancer = new LoadBalancer(discover as never, roundRobin())
  await expect(balancer.update(shutdown.signal)).rejects.toThrow('no set')
  const direct = new LoadBalancer({ discover } as never, roundRobin())
  await expect(direct.update()).rejects.toThrow('no set')
  await new Promise(setImmediate)
  process.off('unhandledRejection', unhandled)
  expect(unhandled).not.toHaveBeenCalled()
})

test('listeners are limited', () => {
  const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin())
  for (let index = 0; index < LISTENERS_MAX; index++) balancer.subscribe(() => {})
  expect(() => balancer.subscribe(() => {})).toThrow(RangeError)
})

test('refuses wrong arguments, naming what it got', () => {
  expect(() => new LoadBalancer({} as never, roundRobin())).toThrow(/Expected a discovery/)
  expect(() => new LoadBalancer(() => [], {} as never)).toThrow(/Expected a selection/)
  for (const options of [
    { updateIntervalMs: 0 },
    { updateTimeoutMs: 2 ** 31 },
    { backendsMax: 0 },
    { panicPercent: 101 },
    { inFlightMax: 0.5 },
    { connectionsMax: 0 },
    { queueMax: -1 },
    { queueTimeoutMs: 0 },
    { slowStartMs: -1 },
    { slowStartPercentMin: 0 },
    { latencyDecayMs: 0 },
    { outlier: { ejectionPercentMax: 101 } },
    { outlier: { ejectionMs: 2_000, ejectionMsMax: 1_000 } },
    { circuitBreaker: { volumeMin: 0 } },
  ]) {
    expect(() => LoadBalancer.fromAddresses([], roundRobin(), options), JSON.stringify(options)).toThrow(
      RangeError,
    )
  }
  for (const options of [{ name: '' }, { queMax: 1 }, { now: 1 }, { random: 1 }, { outlier: { x: 1 } }]) {
    expect(() => LoadBalancer.fromAddresses([], roundRobin(), options as never)).toThrow(TypeError)
  }
})

test('one address in place of a list is refused for what it is', () => {
  for (const wrong of ['10.0.0.1:80', undefined, 5]) {
    expect(() => LoadBalancer.fromAddresses(wrong as never, roundRobin())).toThrow(
      'Expected a list of backends',
    )
  }
})

test('a wait that no timer can take is not over at once', async () => {
  const alarm = new Alarm()
  let over = false
  const waiting = alarm.wait(2_147_483_647 * 1.5, new AbortController().signal).then(() => {
    over = true
  })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(over).toBe(false)
  alarm.ring()
  await waiting
})
