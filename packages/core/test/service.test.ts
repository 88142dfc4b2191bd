import { expect, expectTypeOf, test, vi } from 'vitest'
import { type BackgroundTask, backgroundService } from '../src/index.ts'
import { ServiceGraph } from '../src/server/service-graph.ts'
import { testContext } from './support.ts'

const idle = { start: async () => undefined, drain: async () => undefined, destroy: () => undefined }

function ended(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

test('a background service shares its task and prefixes its name', () => {
  const task = { start: (shutdown: AbortSignal) => ended(shutdown), extra: 1 }
  const service = backgroundService('health', task)
  expect(service.name).toBe('BG health')
  expect(service.task).toBe(task)
  expectTypeOf(service.task.extra).toBeNumber()
})

test('a task with one parameter is ready at once, and drained when it ends', async () => {
  const service = backgroundService('x', { start: (shutdown) => ended(shutdown) })
  const context = testContext()
  await service.start(context)
  let isDrained = false
  const drained = service.drain().then(() => {
    isDrained = true
  })
  await new Promise(setImmediate)
  expect(isDrained).toBe(false)
  context.controller.abort()
  await drained
  service.destroy()
})

test('a task with two parameters is ready when it says so', async () => {
  let becomeReady = () => {}
  const service = backgroundService('x', {
    start(shutdown, ready) {
      becomeReady = ready
      return ended(shutdown)
    },
  })
  const context = testContext()
  let isReady = false
  const started = service.start(context) as Promise<void>
  const seen = started.then(() => {
    isReady = true
  })
  await new Promise(setImmediate)
  expect(isReady).toBe(false)
  becomeReady()
  await seen
  context.controller.abort()
  await service.drain()
})

test.each<[string, BackgroundTask]>([
  ['returns', { start: (_shutdown, _ready) => undefined }],
  ['resolves', { start: async (_shutdown, _ready) => undefined }],
])('a task that %s without a word is ready and done', async (_name, task) => {
  const service = backgroundService('x', task)
  await service.start(testContext())
  await service.drain()
})

test.each<[string, BackgroundTask]>([
  [
    'throws',
    {
      start(_shutdown, _ready) {
        throw new Error('broken')
      },
    },
  ],
  ['rejects', { start: (_shutdown, _ready) => Promise.reject(new Error('broken')) }],
])('a task that %s before it is ready fails its start', async (_name, task) => {
  const service = backgroundService('x', task)
  await expect(service.start(testContext())).rejects.toThrow('broken')
  await service.drain()
})

test('a task that fails later is logged and does not hold up the drain', async () => {
  const context = testContext()
  const error = vi.fn()
  const failure = Promise.withResolvers<void>()
  const service = backgroundService('x', { start: () => failure.promise })
  await service.start({ ...context, logger: { ...context.logger, error } })
  failure.reject(new Error('broken'))
  await service.drain()
  expect(error).toHaveBeenCalledWith('Background task failed', {
    service: 'BG x',
    error: new Error('broken'),
  })
})

test('refuses a background service without a name or a task', () => {
  expect(() => backgroundService('', { start() {} })).toThrow(TypeError)
  expect(() => backgroundService('x', {} as BackgroundTask)).toThrow('needs a task with start()')
})

test('services that would wait for each other are refused, with the whole circle', () => {
  const graph = new ServiceGraph()
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => graph.add({ name, ...idle }))
  if (!(a && b && c && d)) throw new Error('Four were added')
  expect(() => a.addDependency(a)).toThrow('Services cannot wait for each other: "a" → "a"')
  a.addDependency(b)
  expect(() => b.addDependency(a)).toThrow('"b" → "a" → "b"')
  b.addDependencies([c, d])
  expect(() => c.addDependency(a)).toThrow('"c" → "a" → "b" → "c"')
  d.addDependency(c) // a diamond is no circle
  a.addDependencies([c, d, b])
})

test('refuses what is no service, a second adding, foreign handles, and changes after the start', () => {
  const graph = new ServiceGraph()
  const service = { name: 'x', ...idle }
  const handle = graph.add(service)
  expect(() => graph.add(service)).toThrow('added twice')
  expect(() => graph.add({ name: 'y' } as never)).toThrow('needs a method start()')
  expect(() => graph.add({ ...idle, name: '' })).toThrow('needs a name')
  const foreign = new ServiceGraph().add({ name: 'z', ...idle })
  expect(() => handle.addDependency(foreign)).toThrow(TypeError)
  graph.seal()
  expect(() => graph.add({ name: 'late', ...idle })).toThrow('The server has started')
  expect(() => handle.addDependency(handle)).toThrow('The server has started')
})

test('an object that has its service elsewhere is refused with the way to it', () => {
  const balancer = { name: 'x', start: () => undefined, backgroundService: () => undefined }
  expect(() => new ServiceGraph().add(balancer as never)).toThrow('give what backgroundService() returns')
})
