import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createConfiguration } from '../src/configuration/configuration.ts'
import { ListeningService } from '../src/listening/listening-service.ts'
import { silentLogger } from '../src/logger.ts'
import { ServiceDispatch } from '../src/threads/service-dispatch.ts'
import { get, parseAnswer, ThreadedProgram } from './support/threaded.ts'
import { UpgradeScene } from './support/upgrade-scene.ts'

/** A connection that stays open, once its thread has answered. */
async function connect(port: number, localAddress: string = '127.0.0.1'): Promise<[number, Socket]> {
  const socket = createConnection({ host: '127.0.0.1', port, localAddress })
  socket.setEncoding('utf8').on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  let received = ''
  while (!received.includes('from=')) {
    const [text] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [undefined])])
    if (text === undefined) throw new Error('refused')
    received += text
  }
  return [parseAnswer(received).thread, socket]
}

describe.skipIf(process.platform !== 'linux')('with reusePort', () => {
  test('each worker accepts on a socket of its own, and one that is replaced gets a new one', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'cirque-reuse-')), 'proxy.yaml')
    writeFileSync(file, 'listener_reuse_port: true\nthreads: 3\n')
    await using program = await ThreadedProgram.start({}, ['-c', file])
    const clients = await Promise.all(Array.from({ length: 120 }, () => connect(program.port)))
    const threads = clients.map(([thread]) => thread)
    expect([...new Set(threads)].sort()).toEqual([1, 2, 3]) // one is left out once in 10^20
    const report = await program.report()
    expect(report.counters).toMatchObject({ openCount: 120, acceptedCount: 120, refusedCount: 0 })
    // Nothing has come from the main thread, which would have spread them evenly.
    expect(report.threads.map(({ openCount }) => openCount)).toEqual(
      [1, 2, 3].map((thread) => threads.filter((one) => one === thread).length),
    )
    const dead = (await program.ask('/throw')).thread
    await program.line(/(Worker thread replaced)/)
    const survivors = clients.filter(([thread]) => thread !== dead)
    await program.until(({ counters }) => counters['openCount'] === survivors.length)
    const again = await Promise.all(Array.from({ length: 120 }, () => connect(program.port)))
    expect([...new Set(again.map(([thread]) => thread))].sort()).toEqual([1, 2, 3])
    for (const [, socket] of [...clients, ...again]) socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 0)
    program.child.kill('SIGTERM')
    expect(await program.exited).toEqual([0, null])
  })

  test('while no worker is left, the main thread accepts, and connections wait', async () => {
    await using program = await ThreadedProgram.start({ REUSE: '1' })
    const clients = await Promise.all(Array.from({ length: 40 }, () => connect(program.port)))
    const perThread = new Map(clients)
    expect(perThread.size).toBe(2)
    for (const socket of perThread.values()) socket.write('GET /throw HTTP/1.1\r\nHost: a\r\n\r\n')
    await program.line(/Worker thread died thread=(1)/)
    await program.line(/Worker thread died thread=(2)/)
    await Promise.all(Array.from({ length: 20 }, () => program.ask()))
    await program.until((report) => report.threads.every(({ state }) => state === 'serving'))
    await Promise.all(Array.from({ length: 20 }, () => program.ask()))
  })

  test('caps of service, listener and client hold over all threads', async () => {
    await using program = await ThreadedProgram.start({
      REUSE: '1',
      THREADS: '4',
      LISTENER_MAX: '12',
      CONNECTIONS_MAX: '11',
      PER_IP_MAX: '8',
    })
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(program.port)))
    await expect(program.ask()).rejects.toThrow(/ECONNRESET|socket hang up/)
    await program.until(({ counters }) => counters['openCount'] === 8)
    const others = await Promise.all(Array.from({ length: 3 }, () => connect(program.port, '127.0.0.2')))
    await expect(get(program.port, '/', '127.0.0.3')).rejects.toThrow(/ECONNRESET|socket hang up/)
    clients[3]?.[1].destroy()
    await program.until(({ counters }) => counters['openCount'] === 10)
    // The end of a connection is known to its client's cap a moment later.
    for (;;) {
      const [, socket] = await connect(program.port).catch(() => [0, undefined] as const)
      if (socket === undefined) continue
      clients.push([0, socket])
      break
    }
    expect((await program.report()).counters['openCount']).toBe(11)
    for (const [, socket] of [...clients, ...others]) socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 0)
  })

  test('the cap of a listener holds over all threads', async () => {
    await using program = await ThreadedProgram.start({ REUSE: '1', THREADS: '4', LISTENER_MAX: '5' })
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(program.port)))
    await expect(program.ask()).rejects.toThrow(/ECONNRESET|socket hang up/)
    for (const [, socket] of clients) socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 0)
    await program.ask()
    expect((await program.report()).counters['refusedCount']).toBe(1)
  })

  test('an upgrade is refused while a worker is stuck with its listener; all goes on as before', async () => {
    await using scene = new UpgradeScene({
      program: 'threaded-server.ts',
      env: { REUSE: '1', WATCHDOG: '0' },
    })
    scene.spawn()
    const ports = await scene.line(/running \d+ generation 1 at ([\d ]+)/)
    const [port = 0, single = 0] = ports.split(' ').map(Number)
    const spinning = get(port, '/spin3600000')
    const { status } = await scene.upgrade()
    expect([status, scene.log]).toEqual([
      1,
      expect.stringMatching(/Worker thread [12] did not give its listener back: it is stuck/),
    ])
    expect(scene.log).toContain('it cannot hand over its listeners')
    await get(single, '/stop')
    await spinning
    for (const threads = new Set<number>(); threads.size < 2; ) {
      threads.add(parseAnswer(await get(port, '/')).thread)
    }
    expect((await scene.upgrade()).status).toBe(0)
  })

  test('a socket that was bound without it cannot be shared: the successor says so and accepts in its main thread', async () => {
    await using scene = new UpgradeScene({ conf: 'threads: 2\n' })
    const [port = 0] = await scene.start()
    expect((await scene.upgrade({ REUSE: '1' })).status).toBe(0)
    await scene.line(/reusePort takes effect after a restart/)
    expect(await get(port, '/')).toContain('gen=2')
  })

  test('it cannot change the user', () => {
    const service = new ListeningService('web', { onConnection() {}, startDraining() {} }, { threads: 2 })
    service.addTcp('127.0.0.1:0', { reusePort: true })
    const configuration = createConfiguration({ user: 'nobody', group: 'nogroup' })
    const dispatch = new ServiceDispatch(0, 2, () => [])
    const shutdown = new AbortController().signal
    return expect(service.start({ configuration, logger: silentLogger, shutdown, dispatch })).rejects.toThrow(
      'which cannot change to the user "nobody"',
    )
  })
})
