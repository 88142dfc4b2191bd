import { expect, test, vi } from 'vitest'
import {
  backgroundService,
  checkRuntime,
  ListeningService,
  Server,
  type ServerOptions,
  type ServerPhase,
  type Service,
  type ServiceContext,
  silentLogger,
  type TcpAddress,
} from '../src/index.ts'
import { Client } from './support.ts'

function embedded(options: ServerOptions = {}): Server {
  return new Server({ argv: false, logger: silentLogger, ...options })
}

/** A service that writes down what happens to it, and can be made to wait or to fail. */
class Recorder implements Service {
  readonly name: string
  readonly events: string[]
  readonly ready: PromiseWithResolvers<void> = Promise.withResolvers()
  readonly drained: PromiseWithResolvers<void> = Promise.withResolvers()
  context: ServiceContext | undefined

  constructor(name: string, events: string[], options: { holdStart?: boolean; holdDrain?: boolean } = {}) {
    this.name = name
    this.events = events
    if (options.holdStart !== true) this.ready.resolve()
    if (options.holdDrain !== true) this.drained.resolve()
  }

  async start(context: ServiceContext): Promise<void> {
    this.context = context
    this.events.push(`start ${this.name}`)
    await this.ready.promise
    this.events.push(`ready ${this.name}`)
  }
  async drain(): Promise<void> {
    this.events.push(`drain ${this.name}${this.context?.shutdown.aborted === true ? '' : ' unasked'}`)
    await this.drained.promise
    this.events.push(`drained ${this.name}`)
  }
  destroy(): void {
    this.events.push(`destroy ${this.name}`)
    this.drained.resolve()
  }
}

test('several servers run in one process and end when asked to', async () => {
  const servers = [embedded(), embedded()]
  const services = servers.map((server, index) => {
    const service = new ListeningService(`echo ${index}`, {
      onConnection: (socket) => void socket.pipe(socket),
      startDraining: () => {},
    }).addTcp('127.0.0.1:0')
    server.addService(service)
    return service
  })
  const before = process.listenerCount('SIGTERM')
  const controller = new AbortController()
  const runs = servers.map((server) => server.run({ signal: controller.signal }))
  await Promise.all(servers.map((server) => server.whenRunning()))
  expect(process.listenerCount('SIGTERM')).toBe(before)
  for (const service of services) {
    await using client = new Client({ host: '127.0.0.1', port: (service.endpoints()[0] as TcpAddress).port })
    await client.exchange('a', 'a')
  }
  controller.abort()
  await Promise.all(runs)
  expect(servers.map((server) => server.phase)).toEqual(['terminated', 'terminated'])
})

test('services start after what they depend on and drain before it', async () => {
  const server = embedded()
  const events: string[] = []
  const [a, b, c] = ['a', 'b', 'c'].map((name) => new Recorder(name, events, { holdStart: name === 'c' }))
  if (!(a && b && c)) throw new Error('Three were made')
  const [handleA, handleB, handleC] = server.addServices([a, b, c])
  if (!(handleA && handleB && handleC)) throw new Error('Three were added')
  handleA.addDependency(handleB)
  handleB.addDependency(handleC)
  const run = server.run()
  await new Promise(setImmediate)
  expect(events).toEqual(['start c'])
  c.ready.resolve()
  await server.whenRunning()
  expect(events).toEqual(['start c', 'ready c', 'start b', 'ready b', 'start a', 'ready a'])
  events.length = 0
  server.shutdown()
  await run
  expect(events).toEqual([
    'drain a',
    'drained a',
    'drain b',
    'drained b',
    'drain c',
    'drained c',
    'destroy a',
    'destroy b',
    'destroy c',
  ])
})

test('phases come in order and listeners can leave; one that throws harms nobody', async () => {
  const server = embedded()
  const phases: ServerPhase[] = []
  server.onPhase(() => {
    throw new Error('broken listener')
  })
  server.onPhase(() => Promise.reject(new Error('broken later')) as never)
  server.onPhase((phase) => phases.push(phase))
  const left = vi.fn()
  server.onPhase(left)()
  expect(server.phase).toBe('setup')
  const run = server.run()
  await server.whenRunning()
  await server.whenRunning()
  server.shutdown()
  server.shutdown()
  await run
  expect(phases).toEqual([
    'bootstrap',
    'bootstrap-complete',
    'running',
    'graceful-terminate',
    'shutdown-started',
    'shutdown-grace-period',
    'shutdown-runtimes',
    'terminated',
  ])
  expect(left).not.toHaveBeenCalled()
  await expect(server.whenRunning()).rejects.toThrow('ended before')
  await expect(server.run()).rejects.toThrow('runs once')
  expect(() => server.addService(new Recorder('late', []))).toThrow('has started')
})

test('a service that cannot start ends the others and is the reason run() rejects with', async () => {
  const server = embedded()
  const events: string[] = []
  const good = new Recorder('good', events)
  const bad = new Recorder('bad', events, { holdStart: true })
  const never = new Recorder('never', events)
  server.addService(good)
  const handle = server.addService(bad)
  server.addService(never).addDependency(handle)
  const run = server.run()
  const running = server.whenRunning()
  bad.ready.reject(new Error('no certificate'))
  await expect(run).rejects.toThrow('no certificate')
  await expect(running).rejects.toThrow('ended before')
  expect(events).toContain('drain good')
  expect(events).toContain('destroy good')
  expect(events).toContain('destroy bad')
  expect(events.join()).not.toContain('never')
  expect(events.join()).not.toContain('drain bad')
})

test('a start that throws at once is a failure like any other', async () => {
  const server = embedded()
  server.addService({
    name: 'x',
    start() {
      throw new Error('at once')
    },
    drain: async () => undefined,
    destroy: () => undefined,
  })
  await expect(server.run()).rejects.toThrow('at once')
})

test('a shutdown while services start is no failure; what gets ready late is still ended', async () => {
  const server = embedded()
  const events: string[] = []
  const slow = new Recorder('slow', events, { holdStart: true })
  const next = new Recorder('next', events)
  const handle = server.addService(slow)
  server.addService(next).addDependency(handle)
  const run = server.run()
  await new Promise(setImmediate)
  server.shutdown()
  await new Promise(setImmediate)
  expect(slow.context?.shutdown.aborted).toBe(true)
  slow.ready.resolve()
  await run
  expect(events.slice(0, 4)).toEqual(['start slow', 'ready slow', 'drain slow', 'drained slow'])
  expect(events.at(-1)).toBe('destroy slow')
  expect(events.join()).not.toContain('next')
})

test('an aborted signal before run() starts nothing', async () => {
  const server = embedded()
  const events: string[] = []
  server.addService(new Recorder('x', events))
  await server.run({ signal: AbortSignal.abort() })
  expect(events).toEqual([])
})

test("a signal aborted with 'fast' cuts at once, in the order drain then destroy", async () => {
  const server = embedded()
  const events: string[] = []
  server.addService(new Recorder('x', events, { holdDrain: true }))
  const phases: ServerPhase[] = []
  server.onPhase((phase) => phases.push(phase))
  const controller = new AbortController()
  const run = server.run({ signal: controller.signal })
  await server.whenRunning()
  controller.abort('fast')
  await run
  expect(events).toEqual(['start x', 'ready x', 'drain x', 'destroy x', 'drained x'])
  expect(phases).not.toContain('shutdown-grace-period')
})

test('fast after graceful cuts what the drain waits for', async () => {
  const server = embedded()
  const events: string[] = []
  server.addService(new Recorder('x', events, { holdDrain: true }))
  const run = server.run()
  await server.whenRunning()
  server.shutdown()
  await vi.waitFor(() => expect(server.phase).toBe('shutdown-grace-period'))
  expect(events).not.toContain('destroy x')
  server.shutdown('fast')
  server.shutdown('graceful')
  await run
  expect(events).toContain('destroy x')
})

test('a service that never ends is given up after the shutdown timeout', async () => {
  const warn = vi.fn()
  const configuration = { gracePeriodSeconds: 0.02, gracefulShutdownTimeoutSeconds: 0.02 }
  const server = embedded({ configuration, logger: { ...silentLogger, warn } })
  server.addService(backgroundService('stuck', { start: () => new Promise<void>(() => undefined) }))
  const run = server.run()
  await server.whenRunning()
  server.shutdown()
  await run
  expect(warn).toHaveBeenCalledWith('Services did not end in time', { services: ['BG stuck'] })
})

test('drain and destroy may throw; the rest is ended all the same', async () => {
  const server = embedded()
  const events: string[] = []
  server.addService({
    name: 'rude',
    start: () => undefined,
    drain: () => Promise.reject(new Error('rude drain')),
    destroy() {
      throw new Error('rude destroy')
    },
  })
  server.addService(new Recorder('polite', events))
  const run = server.run()
  await server.whenRunning()
  server.shutdown()
  await run
  expect(events).toContain('destroy polite')
})

test('the command line and the configuration come together', () => {
  const settings = { maxRetries: 3 }
  expect(new Server({ configuration: settings }).arguments.test).toBe(false)
  expect(embedded({ argv: ['-t'], configuration: settings }).arguments.test).toBe(true)
  expect(embedded({ configuration: settings }).configuration.maxRetries).toBe(3)
  const parsed = { conf: undefined, daemon: false, test: true, upgrade: false }
  expect(embedded({ argv: parsed }).arguments).toBe(parsed)
  expect(() => embedded({ argv: ['-c', '/nowhere.yaml'] })).toThrow('/nowhere.yaml: cannot be read')
  expect(() => new Server({ args: false } as ServerOptions)).toThrow('did you mean "argv"?')
  expect(() => embedded({ configuration: { maxRetries: 0 } })).toThrow(
    '"maxRetries": expected a whole number',
  )
  expect(() => embedded().shutdown('slow' as never)).toThrow(TypeError)
})

test('-t starts nothing, -u and -d are errors where they cannot be honoured', async () => {
  const events: string[] = []
  const check = embedded({ argv: ['-t'] })
  check.addService(new Recorder('x', events))
  await check.run()
  expect(events).toEqual([])
  await expect(embedded({ argv: ['-u'] }).run()).rejects.toThrow('-u')
  await expect(embedded({ argv: ['-d'] }).run()).rejects.toThrow('Only runForever() can start a daemon')
})

test.each([
  ['24.22.0', 'use 24.22.1 or later'],
  ['24.22.1', undefined],
  ['24.30.0', undefined],
  ['26.12.0', 'use 26.12.1 or later'],
  ['26.12.1', undefined],
  ['25.9.0', 'is not supported'],
  ['28.0.0', undefined],
])('checkRuntime on Node.js %s says %s', (nodeVersion, advice) => {
  const findings = checkRuntime({ nodeVersion, fileDescriptorsMax: 4096, environment: {} })
  expect(findings.map((finding) => finding.code)).toEqual(advice === undefined ? [] : ['NODE_VERSION'])
  if (advice !== undefined) expect(findings[0]?.message).toContain(advice)
})

test('checkRuntime names a low limit of open files and switched-off certificate checks', () => {
  const environment = { NODE_TLS_REJECT_UNAUTHORIZED: '0' }
  const findings = checkRuntime({ nodeVersion: '28.0.0', fileDescriptorsMax: 4095, environment })
  expect(findings.map((finding) => finding.code)).toEqual(['FILE_DESCRIPTORS', 'TLS_UNVERIFIED'])
  expect(Array.isArray(checkRuntime())).toBe(true)
})
