import { CoarseTimer, SteppedWheel, TIMER_MS_MAX, TimerWheel } from '@cirque/timeout'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Recorder } from './recorder.ts'

/** A wheel whose clock may jump by any amount between two calls of `advance`. */
function jumpyWheel(tickMs: number): { wheel: TimerWheel; jump: (ms: number) => void; now: () => number } {
  let ms = 0
  const wheel = new TimerWheel({ tickMs, now: () => ms })
  return {
    wheel,
    now: () => ms,
    jump: (by) => {
      ms += by
      wheel.advance()
    },
  }
}

// Every level of the wheel, and the edges between them.
const anyMs = fc.oneof(
  fc.double({ min: 0, max: 400, noNaN: true }),
  fc.integer({ min: 0, max: 5_000 }),
  fc.constantFrom(0, 10, 2_550, 2_560, 2_561, 2_570, 655_350, 655_360, 655_370, 167_772_160, TIMER_MS_MAX),
  fc.integer({ min: 0, max: TIMER_MS_MAX }),
)
const anyJump = fc.oneof(
  fc.double({ min: 0, max: 30, noNaN: true }),
  fc.integer({ min: 0, max: 3_000 }),
  fc.constantFrom(10, 2_550, 2_560, 2_570, 655_360, 167_772_160),
)

describe('properties', () => {
  test('whatever is armed, re-armed and cancelled: never early, never lost, never twice, never after cancel', () => {
    const anyAct = fc.oneof(
      fc.record({ act: fc.constant('arm' as const), index: fc.nat(9), ms: anyMs }),
      fc.record({ act: fc.constant('cancel' as const), index: fc.nat(9), ms: fc.constant(0) }),
      fc.record({ act: fc.constant('jump' as const), index: fc.constant(0), ms: anyJump }),
    )
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 60 }), fc.constantFrom(1, 10, 7.5), (acts, tickMs) => {
        const { wheel, jump, now } = jumpyWheel(tickMs)
        // Model: the earliest time that each timer may fire, and the latest at which it must have.
        const armed = new Map<number, { ms: number; earliest: number; base: number | undefined }>()
        const owner = {
          onTimer(tag: number) {
            const model = armed.get(tag)
            expect(model, `timer ${tag} was not armed`).toBeDefined()
            expect(now()).toBeGreaterThanOrEqual(model?.earliest ?? 0)
            armed.delete(tag)
          },
        }
        const timers = Array.from({ length: 10 }, (_, index) => new CoarseTimer(owner, index, wheel))
        const jumpAndCheck = (ms: number): void => {
          for (const model of armed.values()) model.base ??= now() + ms
          jump(ms)
          for (const model of armed.values()) {
            // What was due a whole tick ago has been fired.
            expect((model.base ?? 0) + model.ms + tickMs).toBeGreaterThan(now() - 1e-6)
          }
        }
        for (const { act, index, ms } of acts) {
          if (act === 'arm') {
            timers[index]?.arm(ms)
            armed.set(index, { ms, earliest: now() + ms, base: undefined })
          } else if (act === 'cancel') {
            timers[index]?.cancel()
            armed.delete(index)
          } else jumpAndCheck(ms)
          expect(wheel.armedCount).toBe(armed.size)
          for (const timer of timers) expect(timer.armed).toBe(armed.has(timers.indexOf(timer)))
        }
        jumpAndCheck(0)
        jumpAndCheck(TIMER_MS_MAX + 2 * tickMs)
        expect(armed.size).toBe(0)
        expect(wheel.armedCount).toBe(0)
      }),
      { numRuns: 150 },
    )
  })

  test('timers fire in the order of their times, to within a tick, also when the clock leaps', () => {
    fc.assert(
      fc.property(fc.array(anyMs, { minLength: 1, maxLength: 50 }), fc.array(anyJump), (times, jumps) => {
        const { wheel, jump } = jumpyWheel(10)
        const recorder = new Recorder(wheel)
        times.forEach((ms, index) => {
          new CoarseTimer(recorder, index, wheel).arm(ms)
        })
        jump(0)
        for (const ms of jumps) jump(ms)
        jump(TIMER_MS_MAX + 20)
        const order = recorder.tags.map((tag) => times[tag] as number)
        expect(order).toHaveLength(times.length)
        for (let index = 1; index < order.length; index++) {
          expect(order[index]).toBeGreaterThan((order[index - 1] as number) - 10)
        }
      }),
      {
        numRuns: 300,
        examples: [
          [
            [2_580, 2_570, 0],
            [30, 2_550],
          ],
        ],
      },
    )
  })
})

describe('a stepped wheel', () => {
  test('fires at the first tick at or after the time, and not a step before', () => {
    for (const ms of [0, 1, 9, 10, 11, 2_550, 2_560, 2_561, 655_360, 700_001]) {
      const wheel = new SteppedWheel()
      const recorder = new Recorder(wheel)
      new CoarseTimer(recorder, 1, wheel).arm(ms)
      if (ms > 0) {
        wheel.step(ms - 0.5)
        expect(recorder.tags).toEqual([])
      }
      wheel.step(ms > 0 ? 0.5 : 0)
      wheel.step(10)
      expect(recorder.tags, `${ms} ms`).toEqual([1])
      expect(recorder.fired[0]?.atMs).toBeLessThan(ms + 10)
    }
  })

  test('fires thousands of timers of one tick, in the order they were armed', () => {
    const wheel = new SteppedWheel()
    const recorder = new Recorder(wheel)
    const tags = Array.from({ length: 5_000 }, (_, index) => index)
    for (const tag of tags) new CoarseTimer(recorder, tag, wheel).arm(1_000)
    wheel.step(990)
    expect(wheel.armedCount).toBe(5_000)
    wheel.step(10)
    expect(recorder.tags).toEqual(tags)
  })

  test('a later arm replaces an earlier one, both ways', () => {
    const wheel = new SteppedWheel()
    const recorder = new Recorder(wheel)
    const timer = new CoarseTimer(recorder, 1, wheel)
    timer.arm(100)
    wheel.step(50)
    timer.arm(100)
    wheel.step(90)
    expect(recorder.tags).toEqual([])
    timer.arm(10)
    wheel.step(10)
    expect(recorder.tags).toEqual([1])
    wheel.step(1_000)
    expect(recorder.tags).toEqual([1])
  })

  test('refuses a step back', () => {
    expect(() => new SteppedWheel().step(-1)).toThrow('-1')
    expect(() => new SteppedWheel().step(Number.NaN)).toThrow(RangeError)
  })
})

describe('from within onTimer', () => {
  test('a timer may arm itself anew, also for 0 ms, without holding up the tick', () => {
    const wheel = new SteppedWheel()
    let count = 0
    const timer: CoarseTimer = new CoarseTimer(
      {
        onTimer() {
          count++
          expect(timer.armed).toBe(false)
          timer.arm(0)
        },
      },
      0,
      wheel,
    )
    timer.arm(0)
    wheel.advance()
    expect(count).toBe(1)
    wheel.advance()
    expect(count).toBe(2)
  })

  test('a timer may cancel or re-arm others that are due in the same tick', () => {
    const wheel = new SteppedWheel()
    const recorder = new Recorder(wheel)
    const cancelled = new CoarseTimer(recorder, 1, wheel)
    const rearmed = new CoarseTimer(recorder, 2, wheel)
    const last = new CoarseTimer(recorder, 3, wheel)
    const owner = {
      onTimer() {
        cancelled.cancel()
        rearmed.arm(100)
      },
    }
    for (const timer of [new CoarseTimer(owner, 0, wheel), cancelled, rearmed, last]) timer.arm(50)
    wheel.step(60)
    expect(recorder.tags).toEqual([3])
    wheel.step(110)
    expect(recorder.tags).toEqual([3, 2])
  })

  test('advancing again does nothing', () => {
    const wheel = new SteppedWheel()
    const recorder = new Recorder(wheel)
    new CoarseTimer({ onTimer: () => wheel.advance() }, 0, wheel).arm(10)
    new CoarseTimer(recorder, 7, wheel).arm(10)
    wheel.step(20)
    expect(recorder.tags).toEqual([7])
  })

  test('what an owner throws is reported, and the other timers fire', () => {
    const reported: unknown[][] = []
    const wheel = new SteppedWheel({ onTimerError: (...facts) => reported.push(facts) })
    const recorder = new Recorder(wheel)
    const broken = {
      onTimer() {
        throw new Error('broken owner')
      },
    }
    new CoarseTimer(broken, 5, wheel).arm(10)
    new CoarseTimer(recorder, 6, wheel).arm(10)
    wheel.step(20)
    expect(reported).toEqual([[new Error('broken owner'), broken, 5]])
    expect(recorder.tags).toEqual([6])
  })

  test('without a hook, or with one that throws, it becomes a process warning', async () => {
    const warnings: Error[] = []
    const onWarning = (warning: Error): number => warnings.push(warning)
    process.on('warning', onWarning)
    try {
      for (const wheel of [
        new SteppedWheel(),
        new SteppedWheel({
          onTimerError() {
            throw new Error('broken hook')
          },
        }),
      ]) {
        const broken = {
          onTimer() {
            throw new Error('broken owner')
          },
        }
        new CoarseTimer(broken, 0, wheel).arm(10)
        wheel.step(20)
      }
      await new Promise(setImmediate)
    } finally {
      process.off('warning', onWarning)
    }
    expect(warnings.map(({ name }) => name)).toEqual(['TimerWarning', 'TimerWarning'])
    expect((warnings[1] as Error & { detail: string }).detail).toContain('broken hook')
  })
})

describe('a timer', () => {
  test('says when it is due', () => {
    const wheel = new SteppedWheel()
    const timer = new CoarseTimer(new Recorder(wheel), 0, wheel)
    expect(timer.dueAt).toBe(Number.POSITIVE_INFINITY)
    wheel.step(15)
    timer.arm(100)
    expect(timer.dueAt).toBe(115)
    wheel.step(20)
    expect(timer.dueAt).toBe(115)
    timer.cancel()
    expect(timer.dueAt).toBe(Number.POSITIVE_INFINITY)
  })

  test('that is cancelled twice, or was never armed, counts once', () => {
    const wheel = new SteppedWheel()
    const timer = new CoarseTimer(new Recorder(wheel), 0, wheel)
    timer.cancel()
    timer.arm(5)
    timer.arm(6)
    expect(wheel.armedCount).toBe(1)
    timer.cancel()
    timer.cancel()
    expect(wheel.armedCount).toBe(0)
  })

  test('refuses times out of bounds and stays as it was', () => {
    const wheel = new SteppedWheel()
    const timer = new CoarseTimer(new Recorder(wheel), 0, wheel)
    timer.arm(TIMER_MS_MAX)
    for (const ms of [
      -1,
      TIMER_MS_MAX + 1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      undefined as unknown as number,
    ]) {
      expect(() => timer.arm(ms)).toThrow(RangeError)
      expect(() => timer.arm(ms)).toThrow(String(ms))
    }
    expect(timer.dueAt).toBe(TIMER_MS_MAX)
  })
})

test('a tick is from 1 to 1000 ms', () => {
  for (const tickMs of [1, 1_000]) expect(new TimerWheel({ tickMs }).tickMs).toBe(tickMs)
  for (const tickMs of [0, 0.5, 1_001, Number.NaN]) {
    expect(() => new TimerWheel({ tickMs })).toThrow(String(tickMs))
  }
})

test('a stepped wheel with a fractional tick always comes to the end of a step', () => {
  // 15 × 1.1 is a number that, divided by 1.1 again, comes out below 15.
  const wheel = new SteppedWheel({ tickMs: 1.1 })
  const timer = new CoarseTimer(new Recorder(wheel), 0, wheel)
  timer.arm(100)
  wheel.step(99)
  expect(timer.armed).toBe(true)
  wheel.step(3)
  expect(timer.armed).toBe(false)
})
