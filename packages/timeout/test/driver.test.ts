import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { CoarseTimer, now, sharedWheel, sleep, TimerWheel } from '@cirque/timeout'
import { describe, expect, test } from 'vitest'

/** Arms a timer of the shared wheel and resolves with the milliseconds until it fired. */
function fireAfter(ms: number, wheel?: TimerWheel): Promise<number> {
  const startMs = performance.now()
  return new Promise((resolve) => {
    const timer = new CoarseTimer({ onTimer: () => resolve(performance.now() - startMs) }, 0, wheel)
    timer.ref()
    timer.arm(ms)
  })
}

function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** Runs a program in a process of its own; `imports` are in scope. */
function runProgram(code: string): Promise<{ stdout: string; code: number | null }> {
  const source = `import { CoarseTimer, sleep, timeout } from '@cirque/timeout'\n${code}`
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--conditions=@cirque/source', '--input-type=module', '-e', source],
      { cwd: import.meta.dirname, timeout: 10_000 },
      (_error, stdout) => resolve({ stdout, code: child.exitCode }),
    )
  })
}

test('the shared wheel fires by itself, never early, at every sort of distance', async () => {
  const times = [0, 3, 10, 35, 120, 400]
  const taken = await Promise.all(times.map((ms) => fireAfter(ms)))
  taken.forEach((elapsed, index) => {
    expect(elapsed).toBeGreaterThanOrEqual(times[index] as number)
  })
})

test('a timer armed while the wheel sleeps until a far one still fires first', async () => {
  const wheel = new TimerWheel()
  const far = new CoarseTimer({ onTimer() {} }, 0, wheel)
  far.arm(60_000)
  await fireAfter(30, wheel) // the wheel now sleeps until the far one
  await sleep(50)
  expect(await fireAfter(20, wheel)).toBeLessThan(1_000)
  far.cancel()
})

test('a timer that was armed while the event loop was blocked is not early', async () => {
  const elapsed = fireAfter(50)
  block(120)
  const late = fireAfter(50)
  expect(await elapsed).toBeGreaterThanOrEqual(50)
  expect(await late).toBeGreaterThanOrEqual(50)
})

test('after a stall, what has arrived is read before anyone is timed out', async () => {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  try {
    const [socket] = (await once(server, 'connection')) as [import('node:net').Socket]
    const order: string[] = []
    const done = new Promise<void>((resolve) => {
      const timer = new CoarseTimer({ onTimer: () => resolve(void order.push('timer')) })
      timer.ref()
      timer.arm(500)
      client.on('data', () => order.push('data'))
    })
    await sleep(20) // its time has begun, and is over only within the stall
    socket.write('x')
    block(700)
    await done
    expect(order).toEqual(['data', 'timer'])
  } finally {
    client.destroy()
    server.close()
  }
})

test('now() follows the clock, is never ahead of it, and is fresh after idleness', async () => {
  const first = now()
  expect(first).toBeLessThanOrEqual(performance.now())
  block(60)
  await sleep(0)
  expect(now()).toBeGreaterThanOrEqual(first + 60)
  expect(now()).toBeLessThanOrEqual(performance.now())
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(performance.now() - now()).toBeLessThan(60)
})

test('owners do not run in the async context of whoever armed first', async () => {
  const storage = new AsyncLocalStorage<string>()
  const wheel = new TimerWheel()
  const seen = await storage.run('request 1', () => {
    return new Promise((resolve) => {
      const timer = new CoarseTimer({ onTimer: () => resolve(storage.getStore()) }, 0, wheel)
      timer.ref()
      timer.arm(1)
    })
  })
  expect(seen).toBeUndefined()
})

describe('the process', () => {
  test('ends although a timer is armed', async () => {
    const program = `new CoarseTimer({ onTimer() { console.log('fired') } }).arm(300); console.log('end')`
    expect(await runProgram(program)).toEqual({ stdout: 'end\n', code: 0 })
  })

  test('lives until a timer with ref() has fired, also when ref() comes after arm()', async () => {
    const program = `const timer = new CoarseTimer({ onTimer() { console.log('fired') } }); timer.arm(50); timer.ref()`
    expect(await runProgram(program)).toEqual({ stdout: 'fired\n', code: 0 })
  })

  test('ends when the timer that held it is cancelled or let go', async () => {
    const program = `
      const make = () => { const timer = new CoarseTimer({ onTimer() { console.log('fired') } }); timer.ref(); timer.arm(500); return timer }
      const first = make(), second = make()
      first.cancel(); second.unref(); second.unref(); console.log('end')`
    expect(await runProgram(program)).toEqual({ stdout: 'end\n', code: 0 })
  })

  test('lives while it sleeps or waits', async () => {
    const program = `await sleep(20); await timeout(new Promise(() => {}), 20).catch((error) => console.log(error.ms))`
    expect(await runProgram(program)).toEqual({ stdout: '20\n', code: 0 })
  })
})

test('nothing is left armed on the shared wheel', () => {
  expect(sharedWheel.armedCount).toBe(0)
})
