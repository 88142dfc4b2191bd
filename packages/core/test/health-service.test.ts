import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import {
  type ConnectionMessage,
  type HealthService,
  type HealthServiceOptions,
  healthService,
  ListeningService,
  Server,
  silentLogger,
  type TcpAddress,
} from '../src/index.ts'
import { Client, testContext } from './support.ts'

function portOf(service: ListeningService<never> | HealthService): number {
  return (service.endpoints()[0] as TcpAddress).port
}

async function start(options: HealthServiceOptions = {}) {
  const service = healthService(options).addTcp('127.0.0.1:0') as HealthService
  await service.start(testContext())
  const port = portOf(service)
  const ask = async (path: string, init: RequestInit = {}) => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, init)
    return { status: reply.status, text: await reply.text(), headers: reply.headers }
  }
  return { service, ask, port, [Symbol.asyncDispose]: async () => service.destroy() }
}

describe('the endpoints', () => {
  test('say that all is well when there is nothing to check', async () => {
    await using health = await start()
    for (const path of ['/livez', '/readyz']) {
      const { status, text, headers } = await health.ask(path)
      expect([status, text]).toEqual([200, '{"status":"ok","checks":{}}\n'])
      expect(headers.get('cache-control')).toBe('no-store')
    }
  })

  test('name each check; false, a throw and a rejection are failures, nothing returned is none', async () => {
    await using health = await start({
      liveness: { loop: () => undefined },
      readiness: {
        yes: () => true,
        no: async () => false,
        throws: () => {
          throw new Error('x')
        },
        rejects: () => Promise.reject(new Error('y')),
      },
    })
    expect(await health.ask('/livez')).toMatchObject({
      status: 200,
      text: '{"status":"ok","checks":{"loop":"ok"}}\n',
    })
    const { status, text } = await health.ask('/readyz')
    expect(status).toBe(503)
    expect(JSON.parse(text)).toEqual({
      status: 'failed',
      checks: { yes: 'ok', no: 'failed', throws: 'failed', rejects: 'failed' },
    })
  })

  test('give up a probe that hangs, ask it once for all who wait, and again when it has answered', async () => {
    let calls = 0
    let settle: (answer: boolean) => void = () => undefined
    const slow = () => {
      calls++
      return new Promise<boolean>((resolve) => {
        settle = resolve
      })
    }
    await using health = await start({ readiness: { slow }, probeTimeoutMs: 250 })
    const statuses = await Promise.all([1, 2, 3].map(() => health.ask('/readyz')))
    expect(statuses.map(({ status }) => status)).toEqual([503, 503, 503])
    expect(calls).toBe(1)
    settle(true)
    const again = health.ask('/readyz')
    await expect.poll(() => calls, { interval: 5 }).toBe(2)
    settle(true)
    expect((await again).status).toBe(200)
  })

  test('refuse other paths and methods, and take HEAD and paths of your own', async () => {
    await using health = await start({ livenessPath: '/alive', readinessPath: '/ready' })
    expect((await health.ask('/livez')).status).toBe(404)
    expect((await health.ask('/alive', { method: 'POST', body: 'x' })).status).toBe(405)
    expect(await health.ask('/ready', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect((await health.ask('/ready?verbose')).status).toBe(200)
  })

  test.each([
    ['an unknown option', { probes: {} }],
    ['a probe that is no function', { readiness: { a: true } }],
    ['a path without a slash', { livenessPath: 'livez' }],
    ['a path with a query', { livenessPath: '/livez?a' }],
    ['two equal paths', { livenessPath: '/x', readinessPath: '/x' }],
    ['a negative delay', { drainDelayMs: -1 }],
    ['no time for probes', { probeTimeoutMs: 0 }],
  ])('%s is refused at construction', (_name, options) => {
    expect(() => healthService(options as never)).toThrow(/a|probes|livez|path|Ms/)
  })
})

describe('draining', () => {
  test('readiness fails first: the services it depends on serve until the delay is over', async () => {
    const server = new Server({ argv: false, logger: silentLogger })
    const echo = new ListeningService('echo', {
      onConnection: (socket) => void socket.pipe(socket),
      startDraining: () => {},
    }).addTcp('127.0.0.1:0')
    const health = healthService({ drainDelayMs: 300 })
    health.addTcp('127.0.0.1:0')
    server.addService(health).addDependency(server.addService(echo))
    const running = server.run()
    await server.whenRunning()
    const port = portOf(health)
    const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
    expect((await ask('/readyz')).status).toBe(200)
    await using held = new Client({ port: portOf(echo as never), host: '127.0.0.1' })
    await held.exchange('a', 'a')

    server.shutdown()
    await expect.poll(() => health.isDraining).toBe(true)
    const reply = await ask('/readyz')
    expect([reply.status, await reply.text()]).toEqual([503, '{"status":"draining","checks":{}}\n'])
    expect((await ask('/livez')).status).toBe(200)
    await using late = new Client({ port: portOf(echo as never), host: '127.0.0.1' })
    await late.exchange('still served', 'still served')
    late.socket.end()

    // After the delay the echo service drains: no acceptor, and the health service still answers.
    await expect.poll(() => echo.endpoints().length).toBe(0)
    expect((await ask('/readyz')).status).toBe(503)
    held.socket.end()
    await running
    await expect(ask('/livez')).rejects.toThrow()
  })

  test('a second signal ends the delay', async () => {
    const server = new Server({ argv: false, logger: silentLogger })
    const health = healthService({ drainDelayMs: 3_600_000 })
    health.addTcp('127.0.0.1:0')
    server.addService(health)
    const running = server.run()
    await server.whenRunning()
    server.shutdown()
    await expect.poll(() => health.isDraining).toBe(true)
    server.shutdown('fast')
    await running
  })

  test('does not wait, and does not fail, when a successor has taken over', async () => {
    await using health = await start({ drainDelayMs: 3_600_000 })
    await using client = new Client({ port: health.port, host: '127.0.0.1' })
    await client.exchange('GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n', '{}}\n')
    const released = health.service.releaseListeners()
    const before = client.received
    client.received = ''
    await client.exchange('GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n', '{}}\n')
    expect([before, client.received]).toEqual([
      expect.stringMatching(/^HTTP\/1\.1 200/),
      expect.stringMatching(/^HTTP\/1\.1 200/),
    ])
    client.socket.end()
    await health.service.drain()
    await released
    expect(health.service.isDraining).toBe(false)
  })

  test('can begin by hand, without a shutdown', async () => {
    await using health = await start()
    health.service.startDraining()
    expect((await health.ask('/readyz')).status).toBe(503)
    expect((await health.ask('/livez')).status).toBe(200)
  })
})

test('the channel cirque:connection tells of each connection while somebody listens', async () => {
  const heard: string[] = []
  const listener = (message: unknown) => {
    const { socket, info } = message as ConnectionMessage
    expect(socket.remotePort).toBeGreaterThan(0)
    heard.push(`${info.service} ${info.address.text}`)
  }
  await using health = await start()
  await health.ask('/livez', { headers: { connection: 'close' } })
  subscribe('cirque:connection', listener)
  await health.ask('/livez', { headers: { connection: 'close' } })
  unsubscribe('cirque:connection', listener)
  await health.ask('/livez', { headers: { connection: 'close' } })
  expect(heard).toEqual([`health 127.0.0.1:${health.port}`])
})
