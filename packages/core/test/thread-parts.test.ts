import { describe, expect, test } from 'vitest'
import { QUESTIONS_MAX, Questions } from '../src/threads/questions.ts'
import { SHARED_NAMES_MAX, SharedHub, SharedState } from '../src/threads/shared-state.ts'
import { checkThreads, resolveThreads, THREADS_MAX } from '../src/threads/thread-count.ts'
import { threadEntry } from '../src/threads/thread-entry.ts'
import { RING_ENTRIES, ThreadMemory } from '../src/threads/thread-memory.ts'
import { fromThreadError, toThreadError } from '../src/threads/thread-protocol.ts'
import { probeTransfer } from '../src/threads/transfer-probe.ts'
import { Watchdog } from '../src/threads/watchdog.ts'
import type { WorkerThread } from '../src/threads/worker-thread.ts'

const main = (hub: SharedHub = new SharedHub(0)) => new SharedState(hub, '')

describe('shared buffers', () => {
  test('are made by the main thread and found by workers, by their name', () => {
    const hub = new SharedHub(0)
    const made = main(hub).buffer('a', 16)
    expect(main(hub).buffer('a', 16)).toBe(made)
    expect(() => main(hub).buffer('a', 17)).toThrow('Shared buffer "a" has 16 bytes, and 17 were asked for')
    const worker = main(new SharedHub(1, hub.buffers))
    expect(worker.buffer('a', 16)).toBe(made)
    expect(() => worker.buffer('b', 16)).toThrow('The main thread has made no shared buffer "b"')
    hub.isSealed = true
    expect(() => main(hub).buffer('late', 1)).toThrow('comes too late')
  })

  test('names of one service are not those of another', () => {
    const hub = new SharedHub(0)
    expect(new SharedState(hub, '1 ').buffer('a', 8)).not.toBe(new SharedState(hub, '2 ').buffer('a', 8))
  })

  test.each([0, -1, 1.5, 2 ** 31])('a length of %d is refused', (byteLength) => {
    expect(() => main().buffer('a', byteLength)).toThrow(RangeError)
  })

  test('names are checked, and bounded in number', () => {
    const shared = main()
    expect(() => shared.buffer('', 1)).toThrow(TypeError)
    expect(() => shared.buffer('x'.repeat(513), 1)).toThrow(TypeError)
    for (let count = 0; count < SHARED_NAMES_MAX; count += 1) shared.buffer(`b${count}`, 1)
    expect(() => shared.buffer('one more', 1)).toThrow(`A server shares ${SHARED_NAMES_MAX} buffers at most`)
    expect(shared.buffer('b0', 1).byteLength).toBe(1)
  })
})

describe('shared values and questions', () => {
  test('a value reaches those that follow it, and only the main thread sets it', () => {
    const shared = main()
    const value = shared.value<number>('n')
    const seen: number[] = []
    value.set(1)
    const stop = value.subscribe((n) => void seen.push(n))
    value.set(2)
    stop()
    value.set(3)
    expect([value.current, seen]).toEqual([3, [1, 2]])
    expect(() => main(new SharedHub(1)).value('n').set(1)).toThrow('Only the main thread sets')
  })

  test('without workers the main thread answers itself', async () => {
    const shared = main()
    shared.answer('double', (n) => Number(n) * 2)
    expect(await shared.ask('double', 4)).toBe(8)
    expect(await shared.askWorkers('double', 4)).toEqual([])
    expect(() => shared.answer('double', () => 0)).toThrow('"double" is answered already')
    await expect(shared.ask('nothing')).rejects.toThrow('Nobody answers "nothing"')
    await expect(async () => shared.ask('double', 4, { timeoutMs: 0 })).rejects.toThrow(RangeError)
    await expect(main(new SharedHub(1)).askWorkers('double')).rejects.toThrow('Only the main thread')
  })

  test('questions end by answer, error, time or the end of the other thread, and are bounded', async () => {
    const questions = new Questions()
    const ids: number[] = []
    const ask = (timeoutMs: number) => questions.ask((id) => void ids.push(id), timeoutMs, 'q')
    const answered = ask(10_000)
    const failed = ask(10_000)
    questions.receive({ id: ids[0] ?? 0, answer: 5 })
    questions.receive({ id: ids[1] ?? 0, error: toThreadError(new TypeError('no')) })
    expect(await answered).toBe(5)
    await expect(failed).rejects.toThrow('no')
    await expect(ask(1)).rejects.toThrow('No answer to "q" within 1 ms')
    const all = Array.from({ length: QUESTIONS_MAX }, () =>
      ask(60_000).catch((error: Error) => error.message),
    )
    await expect(ask(60_000)).rejects.toThrow(`${QUESTIONS_MAX} questions wait`)
    questions.fail(new Error('gone'))
    expect(new Set(await Promise.all(all))).toEqual(new Set(['gone']))
  })
})

test('ends of connections come through the ring in order, also past its end; a full ring says so', () => {
  const memory = new ThreadMemory(1)
  const worker = new ThreadMemory(1, memory.buffer)
  const taken: number[] = []
  const take = () => memory.takeEnded((connection) => void taken.push(connection))
  for (let round = 0; round < 3; round += 1) {
    taken.length = 0
    for (let id = 0; id < RING_ENTRIES; id += 1) expect(worker.end(id)).toBe(true)
    expect(worker.end(0)).toBe(false)
    take()
    expect(taken).toEqual(Array.from({ length: RING_ENTRIES }, (_, id) => id))
    expect(worker.end(7)).toBe(true)
    take()
    expect(taken.at(-1)).toBe(7)
  }
})

test('a worker counts for the main thread', () => {
  const memory = new ThreadMemory(3)
  const worker = new ThreadMemory(3, memory.buffer)
  worker.count(2, 1)
  worker.count(2, 1)
  worker.receive()
  worker.beat()
  expect([memory.counter(2, 1), memory.counter(1, 1), memory.received, memory.beats]).toEqual([2, 0, 1, 1])
})

test('an error keeps name, code and stack on its way to another thread', () => {
  const error = Object.assign(new TypeError('wrong'), { code: 'E_WRONG' })
  const copy = fromThreadError(structuredClone(toThreadError(error)))
  expect(copy).toMatchObject({ name: 'TypeError', message: 'wrong', code: 'E_WRONG', stack: error.stack })
  expect(fromThreadError(toThreadError('text')).message).toBe('text')
})

test('threads are a whole number, or auto', () => {
  expect([checkThreads(1), checkThreads(THREADS_MAX), checkThreads('auto')]).toEqual([1, THREADS_MAX, 'auto'])
  for (const wrong of [0, THREADS_MAX + 1, 1.5, '2', undefined]) {
    expect(() => checkThreads(wrong)).toThrow(RangeError)
  }
  expect(resolveThreads('auto')).toBeGreaterThan(0)
  expect(threadEntry('x.js')).toBe('x.js')
})

test('this Node.js can move connections', async () => {
  await expect(probeTransfer()).resolves.toBeUndefined()
})

test('the watchdog counts its own looks, so that a stop of the whole process accuses nobody', async () => {
  const memory = new ThreadMemory(0)
  const worker = { memory, isServing: true, isStuck: false } as unknown as WorkerThread
  const told: string[] = []
  const stuck = Promise.withResolvers<void>()
  const recovered = Promise.withResolvers<void>()
  const watchdog = new Watchdog(100, {
    workers: () => [worker],
    onStuck: () => {
      told.push('stuck')
      stuck.resolve()
    },
    onRecovered: () => {
      told.push('recovered')
      recovered.resolve()
    },
  })
  expect(watchdog.heartbeatMs).toBe(25)
  watchdog.start()
  memory.beat()
  for (const until = performance.now() + 300; performance.now() < until; ); // nobody looks, nobody beats
  expect(told).toEqual([])
  await stuck.promise
  memory.beat()
  await recovered.promise
  watchdog.stop()
  expect(told).toEqual(['stuck', 'recovered'])
})
