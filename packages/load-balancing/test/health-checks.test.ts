import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  Backend,
  type BalancerEvent,
  type HealthCheck,
  HttpHealthCheck,
  LoadBalancer,
  roundRobin,
  TcpHealthCheck,
} from '@cirque/load-balancing'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { HealthState } from '../src/health/health-state.ts'
import { addresses } from './helpers.ts'

const signal = new AbortController().signal

/** A server on loopback that counts its connections, and cuts them when disposed of. */
async function listen(server: Server, path?: string) {
  const sockets = new Set<Socket>()
  let connectionCount = 0
  server.on('connection', (socket: Socket) => {
    connectionCount++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, '127.0.0.1', resolve)
    else server.listen(path, resolve)
  })
  const address = path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`
  return {
    backend: new Backend(address),
    get connectionCount() {
      return connectionCount
    },
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

describe('thresholds', () => {
  test('flip after enough opposite results in a row; one that agrees starts the count again', () => {
    const state = new HealthState()
    const thresholds = { consecutiveSuccess: 2, consecutiveFailure: 3 }
    const flips = [false, false, true, false, false, false, true, false, true, true].map((success) =>
      state.observe(success, thresholds),
    )
    expect(flips).toEqual([false, false, false, false, false, true, false, false, false, true])
  })

  test('health is always that of the last long enough run of results', () => {
    const threshold = fc.integer({ min: 1, max: 4 })
    fc.assert(
      fc.property(threshold, threshold, fc.array(fc.boolean()), (success, failure, results) => {
        const state = new HealthState()
        const thresholds = { consecutiveSuccess: success, consecutiveFailure: failure }
        let expected = true
        for (let end = 1; end <= results.length; end++) {
          const flipped = state.observe(results[end - 1] as boolean, thresholds)
          const run = results.slice(0, end).toReversed()
          const opposite = run.indexOf(expected)
          const length = opposite === -1 ? run.length : opposite
          const flips = length >= (expected ? failure : success)
          expect(flipped).toBe(flips)
          if (flips) {
            expected = !expected
            results.splice(0, end)
            end = 0
          }
          expect(state.healthy).toBe(expected)
        }
      }),
    )
  })
})

describe('TcpHealthCheck', () => {
  test('is content with an accepted connection, and leaves none behind', async () => {
    await using server = await listen(createServer())
    await new TcpHealthCheck().check(server.backend, signal)
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
    expect(server.connectionCount).toBe(1)
  })

  test('fails on a closed port, naming the cause', async () => {
    const server = await listen(createServer())
    await server[Symbol.asyncDispose]()
    await expect(new TcpHealthCheck().check(server.backend, signal)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
  })

  test('takes Unix sockets, and another port', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cirque-'))
    await using unix = await listen(createServer(), join(folder, 'a.sock'))
    await new TcpHealthCheck().check(unix.backend, signal)
    await using server = await listen(createServer())
    const portOverride = Number(server.backend.address.split(':')[1])
    await new TcpHealthCheck({ portOverride }).check(new Backend('127.0.0.1:1'), signal)
    await rm(folder, { recursive: true })
  })

  test('gives up a TLS handshake that never ends after connectTimeoutMs', async () => {
    await using server = await listen(createServer((socket) => socket.resume()))
    const check = new TcpHealthCheck({ connectTimeoutMs: 30, tls: {} })
    await expect(check.check(server.backend, signal)).rejects.toThrow(/within 30 ms/)
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
  })

  test('a server that closes during the handshake, or speaks no TLS, is unwell', async () => {
    await using closing = await listen(createServer((socket) => socket.end()))
    await expect(new TcpHealthCheck({ tls: {} }).check(closing.backend, signal)).rejects.toThrow()
    await using plain = await listen(createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))
    await expect(new TcpHealthCheck({ tls: {} }).check(plain.backend, signal)).rejects.toThrow()
  })

  test('ends at once on abort', async () => {
    await using server = await listen(createServer())
    const controller = new AbortController()
    const checking = new TcpHealthCheck({ tls: {} }).check(server.backend, controller.signal)
    controller.abort(new Error('shutting down'))
    await expect(checking).rejects.toThrow('shutting down')
    await expect(new TcpHealthCheck().check(server.backend, controller.signal)).rejects.toThrow(
      'shutting down',
    )
  })

  test('refuses wrong options', () => {
    for (const options of [
      { connectTimeoutMs: 0 },
      { consecutiveSuccess: 0 },
      { consecutiveFailure: 1.5 },
      { portOverride: 65_536 },
    ]) {
      expect(() => new TcpHealthCheck(options)).toThrow(RangeError)
    }
    expect(() => new TcpHealthCheck({ timeout: 1 } as never)).toThrow(/Unknown option/)
    expect(() => new TcpHealthCheck({ healthChangedCallback: 1 as never })).toThrow(TypeError)
  })
})

describe('HttpHealthCheck', () => {
  const http = (handler: Handler) => listen(createHttpServer(handler))

  test('asks for the path with the Host that was given, and wants 200', async () => {
    let seen: IncomingMessage | undefined
    await using server = await http((request, response) => {
      seen = request
      response.end('well')
    })
    await new HttpHealthCheck({ host: 'a.example', path: '/health?x=1', headers: { 'X-Probe': '1' } }).check(
      server.backend,
      signal,
    )
    expect(seen?.url).toBe('/health?x=1')
    expect(seen?.headers).toMatchObject({ host: 'a.example', 'x-probe': '1', connection: 'close' })
    await new HttpHealthCheck().check(server.backend, signal)
    expect(seen?.headers.host).toBe(server.backend.address)
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
  })

  test('takes other statuses when told to; a redirect is not followed', async () => {
    await using server = await http((request, response) => {
      response.writeHead(Number(request.url?.slice(1)), { location: '/200' }).end()
    })
    const answer = (path: string, expectedStatus?: number | number[]) =>
      new HttpHealthCheck({ path, ...(expectedStatus === undefined ? {} : { expectedStatus }) }).check(
        server.backend,
        signal,
      )
    await expect(answer('/302')).rejects.toThrow(/status 302/)
    await expect(answer('/503')).rejects.toThrow(/status 503/)
    await expect(answer('/204')).rejects.toThrow(/status 204/)
    await answer('/204', [200, 204])
    await answer('/503', 503)
  })

  test('a validator decides over status, headers and body', async () => {
    await using server = await http((_request, response) => {
      response.writeHead(207, { 'x-ready': 'yes' }).end('{"ready":true}')
    })
    const check = (validator: ConstructorParameters<typeof HttpHealthCheck>[0]) =>
      new HttpHealthCheck(validator).check(server.backend, signal)
    await check({
      validator: ({ status, headers, body }) =>
        status === 207 && headers['x-ready'] === 'yes' && JSON.parse(body.toString()).ready,
    })
    await expect(check({ validator: async () => false })).rejects.toThrow(/validator refused/)
    await expect(
      check({
        validator: () => {
          throw new Error('not ready')
        },
      }),
    ).rejects.toThrow('not ready')
  })

  test('reads no more than bodyBytesMax: cut off without a validator, a failure with one', async () => {
    await using server = await http((_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) {}
      }
      response.on('drain', more)
      more()
    })
    await new HttpHealthCheck({ bodyBytesMax: 1_000 }).check(server.backend, signal)
    await expect(
      new HttpHealthCheck({ bodyBytesMax: 1_000, validator: () => true }).check(server.backend, signal),
    ).rejects.toThrow(/longer than bodyBytesMax/)
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
  })

  test('gives up an answer that does not come, or does not end', async () => {
    await using server = await http((request, response) => {
      if (request.url === '/head') response.writeHead(200).write('x')
    })
    for (const path of ['/nothing', '/head']) {
      const check = new HttpHealthCheck({ path, connectTimeoutMs: 20, readTimeoutMs: 30 })
      await expect(check.check(server.backend, signal)).rejects.toThrow(/within 50 ms/)
    }
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
  })

  test('connects anew for each check, unless told to reuse; forget and close let go', async () => {
    await using server = await http((_request, response) => response.end())
    const fresh = new HttpHealthCheck()
    for (let round = 0; round < 3; round++) await fresh.check(server.backend, signal)
    expect(server.connectionCount).toBe(3)
    const reusing = new HttpHealthCheck({ reuseConnection: true })
    for (let round = 0; round < 3; round++) await reusing.check(server.backend, signal)
    expect(server.connectionCount).toBe(4)
    reusing.forget(server.backend)
    await reusing.check(server.backend, signal)
    expect(server.connectionCount).toBe(5)
    reusing.close()
    await vi.waitFor(() => expect(server.sockets.size).toBe(0))
  })

  test('takes Unix sockets', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cirque-'))
    await using server = await listen(
      createHttpServer((_request, response) => response.end()),
      join(folder, 'a.sock'),
    )
    await new HttpHealthCheck().check(server.backend, signal)
    await rm(folder, { recursive: true })
  })

  test('a server that speaks something else, or closes, is unwell', async () => {
    await using odd = await listen(createServer((socket) => socket.end('220 mail.example ESMTP\r\n')))
    await expect(new HttpHealthCheck().check(odd.backend, signal)).rejects.toThrow()
    await using closing = await listen(createServer((socket) => socket.destroy()))
    await expect(new HttpHealthCheck().check(closing.backend, signal)).rejects.toThrow()
  })

  test('ends at once on abort', async () => {
    await using server = await http(() => {})
    const controller = new AbortController()
    const checking = new HttpHealthCheck().check(server.backend, controller.signal)
    controller.abort(new Error('shutting down'))
    await expect(checking).rejects.toThrow('shutting down')
  })

  test('refuses wrong options', () => {
    // Sent as they are, these would fail every check and take every backend out.
    for (const options of [
      { path: 'health' },
      { path: '/a b' },
      { path: '/a\r\nX: y' },
      { path: 5 },
      { method: 'GE T' },
      { method: '' },
      { host: 'a b' },
      { host: 'a/b' },
      { host: 'user@a' },
      { headers: { 'a b': 'c' } },
      { headers: { a: 'b\r\nc: d' } },
      { headers: { a: undefined } },
      { expectedStatus: [] },
    ]) {
      expect(() => new HttpHealthCheck(options as never), JSON.stringify(options)).toThrow(TypeError)
    }
    for (const host of ['a.example', 'a.example:8080', '10.0.0.1', '[::1]:80']) new HttpHealthCheck({ host })
    new HttpHealthCheck({ method: 'HEAD', path: '/health?deep=1&q="x"', headers: { accept: '*/*' } })
    expect(() => new HttpHealthCheck({ validator: 1 as never })).toThrow(TypeError)
    expect(() => new HttpHealthCheck({ timeout: 1 } as never)).toThrow(/Unknown option/)
    for (const options of [
      { expectedStatus: 600 },
      { expectedStatus: [200, 99] },
      { connectTimeoutMs: 0 },
      { readTimeoutMs: 0 },
      { bodyBytesMax: -1 },
      { portOverride: 0 },
    ]) {
      expect(() => new HttpHealthCheck(options)).toThrow(RangeError)
    }
  })
})

describe('a balancer’s rounds', () => {
  const checkOf = (check: HealthCheck['check']): HealthCheck => ({
    consecutiveSuccess: 1,
    consecutiveFailure: 1,
    check,
  })

  test('tell of each flip, once, with the reason', async () => {
    const down = new Set<string>()
    const flips: [string, boolean, unknown][] = []
    const error = new Error('no answer')
    const balancer = LoadBalancer.fromAddresses(addresses(2), roundRobin())
    const events: BalancerEvent[] = []
    balancer.subscribe((event) => events.push(event))
    balancer.setHealthCheck({
      ...checkOf(async ({ address }) => {
        if (down.has(address)) throw error
      }),
      healthStatusChange: (backend, healthy, reason) => flips.push([backend.address, healthy, reason]),
      backendSummary: (backend) => `<${backend.address}>`,
    })
    const [first] = balancer.backends as [Backend]
    down.add(first.address)
    await balancer.runHealthCheck()
    await balancer.runHealthCheck()
    expect(balancer.select()).not.toBe(first)
    expect(String(balancer.summary())).toBe(
      'load-balancer: 1 of 2 backends eligible (round-robin); out: <10.0.0.0:80> unhealthy',
    )
    down.clear()
    await balancer.runHealthCheck()
    expect(flips).toEqual([
      [first.address, false, error],
      [first.address, true, undefined],
    ])
    expect(events).toEqual([
      { type: 'unhealthy', backend: first, error },
      { type: 'healthy', backend: first },
    ])
  })

  test.each([
    [false, 1],
    [3, 3],
    [true, 32],
  ])('with parallel %s check at most %i at a time', async (parallel, most) => {
    let running = 0
    let peak = 0
    const balancer = LoadBalancer.fromAddresses(addresses(50), roundRobin())
    balancer.setHealthCheck(
      checkOf(async () => {
        peak = Math.max(peak, ++running)
        await new Promise((resolve) => setImmediate(resolve))
        running--
      }),
      { parallel },
    )
    await balancer.runHealthCheck()
    expect(peak).toBe(most)
  })

  test('give up a check that never settles or throws at once, and go on with the others', async () => {
    const aborted: string[] = []
    const balancer = LoadBalancer.fromAddresses(addresses(3), roundRobin())
    const [first, second, third] = addresses(3) as [string, string, string]
    balancer.setHealthCheck(
      checkOf((backend, checkSignal) => {
        if (backend.address === second) throw new Error('thrown, not rejected')
        if (backend.address !== first) return Promise.resolve()
        checkSignal.addEventListener('abort', () => aborted.push(backend.address))
        return new Promise(() => {})
      }),
      { timeoutMs: 20, parallel: false },
    )
    await balancer.runHealthCheck()
    expect(aborted).toEqual([first])
    expect(balancer.select()?.address).toBe(third)
    expect(balancer.isEligible(second)).toBe(false)
  })

  test('run every intervalMs in the background, find what is down and up, and end on shutdown', async () => {
    await using stays = await listen(createServer())
    const goes = await listen(createServer())
    const balancer = LoadBalancer.fromBackends([stays.backend, goes.backend], roundRobin())
    balancer.setHealthCheck(new TcpHealthCheck(), { intervalMs: 5 })
    const controller = new AbortController()
    const ended = balancer.start(controller.signal, () => {})
    const next = (type: string) =>
      new Promise<void>((resolve) => {
        const unsubscribe = balancer.subscribe((event) => {
          if (event.type !== type) return
          unsubscribe()
          resolve()
        })
      })
    const unhealthy = next('unhealthy')
    await goes[Symbol.asyncDispose]()
    await unhealthy
    for (let turn = 0; turn < 4; turn++) expect(balancer.select()?.address).toBe(stays.backend.address)
    const healthy = next('healthy')
    const again = createServer()
    again.listen(Number(goes.backend.address.split(':')[1]), '127.0.0.1')
    await healthy
    expect(balancer.summary().eligibleCount).toBe(2)
    controller.abort()
    await ended
    await new Promise((resolve) => again.close(resolve))
  })

  test('a check’s callbacks hear of flips, and name backends', async () => {
    const server = await listen(createServer())
    await server[Symbol.asyncDispose]()
    const balancer = LoadBalancer.fromBackends([server.backend], roundRobin())
    const heard: unknown[] = []
    const healthChangedCallback = (backend: Backend, healthy: boolean) => heard.push(backend, healthy)
    for (const check of [
      new TcpHealthCheck({ healthChangedCallback }),
      new HttpHealthCheck({
        healthChangedCallback,
        backendSummaryCallback: ({ address }) => `api ${address}`,
      }),
    ]) {
      balancer.setHealthCheck(undefined)
      balancer.setHealthCheck(check)
      await balancer.runHealthCheck()
    }
    expect(heard).toEqual([server.backend, false, server.backend, false])
    expect(balancer.summary().backends[0]?.label).toBe(`api ${server.backend.address}`)
  })

  test('a check that is set later begins at once; one that is taken away leaves all healthy', async () => {
    const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin())
    const controller = new AbortController()
    const ended = balancer.start(controller.signal, () => {})
    const flipped = new Promise<void>((resolve) => {
      balancer.subscribe(({ type }) => type === 'unhealthy' && resolve())
    })
    const close = vi.fn()
    balancer.setHealthCheck({ ...checkOf(() => Promise.reject(new Error('down'))), close })
    await flipped
    expect(balancer.select()).toBeUndefined()
    const healthy = vi.fn()
    balancer.subscribe(healthy)
    balancer.setHealthCheck(undefined)
    expect(healthy).toHaveBeenCalledWith({ type: 'healthy', backend: balancer.backends[0] })
    expect(close).toHaveBeenCalledTimes(1)
    expect(balancer.select()).toBeDefined()
    controller.abort()
    await ended
  })

  test('results that come in after shutdown began are ignored', async () => {
    const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin())
    const controller = new AbortController()
    balancer.setHealthCheck(
      checkOf((_backend, checkSignal) => {
        return new Promise((_resolve, reject) => {
          checkSignal.addEventListener('abort', () => reject(checkSignal.reason))
        })
      }),
    )
    const round = balancer.runHealthCheck(controller.signal)
    controller.abort(new Error('shutting down'))
    await expect(round).rejects.toThrow('shutting down')
    expect(balancer.select()).toBeDefined()
  })

  test('a backend that left while it was checked is nobody’s concern', async () => {
    let set = addresses(2)
    const balancer = new LoadBalancer(() => set, roundRobin())
    await balancer.update()
    const answer = Promise.withResolvers<void>()
    balancer.setHealthCheck(checkOf(() => answer.promise))
    const round = balancer.runHealthCheck()
    set = addresses(1)
    await balancer.update()
    const heard: string[] = []
    balancer.subscribe((event) => event.type === 'unhealthy' && heard.push(event.backend.address))
    answer.reject(new Error('down'))
    await round
    expect(heard).toEqual(addresses(1))
  })

  test('results of a check that was replaced meanwhile are ignored', async () => {
    const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin())
    const answer = Promise.withResolvers<void>()
    balancer.setHealthCheck(checkOf(() => answer.promise))
    const round = balancer.runHealthCheck()
    balancer.setHealthCheck(checkOf(async () => {}))
    answer.reject(new Error('down'))
    await round
    expect(balancer.select()).toBeDefined()
  })

  test('the set check tells which backends left', async () => {
    let set = addresses(2)
    const forget = vi.fn()
    const balancer = new LoadBalancer(() => set, roundRobin())
    balancer.setHealthCheck({ ...checkOf(async () => {}), forget })
    await balancer.update()
    set = addresses(1)
    await balancer.update()
    expect(forget.mock.calls.map(([backend]) => backend.address)).toEqual([addresses(2)[1]])
  })

  test('refuse wrong options', () => {
    const balancer = LoadBalancer.fromAddresses(addresses(1), roundRobin())
    const check = new TcpHealthCheck()
    for (const options of [{ intervalMs: 0 }, { parallel: 0 }, { jitterPercent: 51 }, { timeoutMs: 0 }]) {
      expect(() => balancer.setHealthCheck(check, options)).toThrow(RangeError)
    }
    expect(() => balancer.setHealthCheck({} as never)).toThrow(TypeError)
    expect(() => balancer.setHealthCheck(check, { interval: 1 } as never)).toThrow(TypeError)
    expect(() => balancer.setHealthCheck({ ...checkOf(async () => {}), consecutiveFailure: 0 })).toThrow(
      RangeError,
    )
  })
})
