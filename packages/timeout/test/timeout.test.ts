import {
  CoarseTimer,
  sharedWheel,
  sleep,
  TIMER_MS_MAX,
  TimeoutError,
  TimerWheel,
  timeout,
} from '@cirque/timeout'
import { describe, expect, expectTypeOf, test } from 'vitest'

describe('timeout', () => {
  test('settles as the promise does', async () => {
    expect(await timeout(Promise.resolve('value'), 1_000)).toBe('value')
    await expect(timeout(Promise.reject(new Error('inner')), 1_000)).rejects.toThrow('inner')
    const later = new Promise<string>((resolve) => setTimeout(resolve, 20, 'later'))
    expect(await timeout(later, 5_000)).toBe('later')
    expect(sharedWheel.armedCount).toBe(0)
    expectTypeOf(timeout(Promise.resolve(5), 1)).toEqualTypeOf<Promise<number>>()
  })

  test('rejects with a TimeoutError that says the time, and not early', async () => {
    const startMs = performance.now()
    const error = await timeout(new Promise(() => {}), 40).catch((error: unknown) => error)
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(40)
    expect(error).toBeInstanceOf(TimeoutError)
    expect(error).toMatchObject({ name: 'TimeoutError', ms: 40, message: 'Not settled within 40 ms' })
  })

  test('arms no timer for a promise that is settled already', async () => {
    const settled = timeout(Promise.resolve(1), 1_000)
    await Promise.resolve()
    expect(sharedWheel.armedCount).toBe(0)
    await settled
    const pending = timeout(new Promise<void>((resolve) => setImmediate(resolve)), 1_000)
    await Promise.resolve()
    expect(sharedWheel.armedCount).toBe(1)
    await pending
    expect(sharedWheel.armedCount).toBe(0)
  })

  test('a rejection that comes after the timeout is not unhandled', async () => {
    const unhandled: unknown[] = []
    const listen = (reason: unknown): number => unhandled.push(reason)
    process.on('unhandledRejection', listen)
    try {
      let fail: (error: Error) => void = () => {}
      const promise = new Promise((_resolve, reject) => {
        fail = reject
      })
      await expect(timeout(promise, 10)).rejects.toBeInstanceOf(TimeoutError)
      fail(new Error('too late'))
      await new Promise(setImmediate)
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', listen)
    }
  })

  test('a signal ends the wait with its reason, before or during it', async () => {
    const reason = new Error('enough')
    const pending = new Promise(() => {})
    await expect(timeout(pending, 1_000, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const wait = timeout(pending, 1_000, { signal: controller.signal })
    setImmediate(() => controller.abort(reason))
    await expect(wait).rejects.toBe(reason)
    expect(sharedWheel.armedCount).toBe(0)
  })

  test('takes any thenable', async () => {
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
    const thenable = { then: (resolve: (value: number) => void) => resolve(3) } as PromiseLike<number>
    expect(await timeout(thenable, 1_000)).toBe(3)
  })
})

describe('sleep', () => {
  test('waits at least its time', async () => {
    const startMs = performance.now()
    await sleep(25)
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(25)
    await sleep(0)
  })

  test('a signal ends it with its reason and leaves no listener behind', async () => {
    const reason = new Error('enough')
    await expect(sleep(1_000, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const wait = sleep(1_000, { signal: controller.signal })
    controller.abort(reason)
    await expect(wait).rejects.toBe(reason)
    expect(sharedWheel.armedCount).toBe(0)

    let listenerCount = 0
    const { signal } = new AbortController()
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listenerCount++
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listenerCount--
      remove(...args)
    }
    await sleep(5, { signal })
    expect(listenerCount).toBe(0)
  })
})

test.each([-1, TIMER_MS_MAX + 1, Number.NaN])('%d ms is refused at once', (ms) => {
  expect(() => sleep(ms)).toThrow(RangeError)
  expect(() => timeout(Promise.resolve(), ms)).toThrow(String(ms))
})

test.each([new AbortController(), null, 'signal'])('%s is refused as a signal at once', (signal) => {
  const options = { signal: signal as unknown as AbortSignal }
  expect(() => timeout(new Promise(() => {}), 10, options)).toThrow(TypeError)
  expect(() => sleep(10, options)).toThrow(/signal must be an AbortSignal, got/)
  expect(sharedWheel.armedCount).toBe(0)
})

test.each(['50', null, 10n, [5]])('%o is refused as a time: only a number is one', (ms) => {
  const wrong = ms as unknown as number
  const timer = new CoarseTimer({ onTimer() {} })
  expect(() => timer.arm(wrong)).toThrow(RangeError)
  expect(() => timeout(new Promise(() => {}), wrong)).toThrow(/ms must be a number from 0 to 2147483648, got/)
  expect(() => sleep(wrong)).toThrow(RangeError)
  if (ms !== null) expect(() => new TimerWheel({ tickMs: wrong })).toThrow(RangeError)
  expect(timer.armed).toBe(false)
})
