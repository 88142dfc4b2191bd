import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { get, parseAnswer, ThreadedProgram } from './support/threaded.ts'
import { Program } from './support.ts'

/** A connection that stays open. */
class KeepAlive {
  readonly socket: Socket
  #received = ''

  constructor(port: number, localAddress: string = '127.0.0.1') {
    this.socket = createConnection({ host: '127.0.0.1', port, localAddress })
    this.socket.setEncoding('utf8')
    this.socket.on('error', () => undefined)
  }

  async ask(): Promise<number> {
    this.#received = ''
    this.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    while (!this.#received.includes('from=')) {
      const [text] = await once(this.socket, 'data')
      this.#received += text
    }
    return parseAnswer(this.#received).thread
  }
}

describe('with worker threads', () => {
  test('1,000 keep-alive connections are spread evenly over 4 workers, which the main thread counts', async () => {
    await using program = await ThreadedProgram.start({ THREADS: '4' })
    const clients: KeepAlive[] = []
    const perThread = new Map<number, number>()
    for (let wave = 0; wave < 10; wave += 1) {
      const more = Array.from({ length: 100 }, () => new KeepAlive(program.port))
      clients.push(...more)
      for (const thread of await Promise.all(more.map((client) => client.ask()))) {
        perThread.set(thread, (perThread.get(thread) ?? 0) + 1)
      }
    }
    expect([...perThread.keys()].sort()).toEqual([1, 2, 3, 4])
    for (const count of perThread.values()) {
      expect(count).toBeGreaterThanOrEqual(225)
      expect(count).toBeLessThanOrEqual(275)
    }
    expect((await program.report()).counters['openCount']).toBe(1000)
    for (const client of clients) client.socket.destroy()
    // Each worker tells of its ends by itself, and the counter of the service runs ahead of them.
    const { counters } = await program.until(
      (report) =>
        report.counters['openCount'] === 0 && report.threads.every(({ openCount }) => openCount === 0),
    )
    expect(counters).toMatchObject({ acceptedCount: 1000, refusedCount: 0 })
    // Memory of the program is shared by all threads.
    const answers = await Promise.all(Array.from({ length: 50 }, () => program.ask()))
    expect(answers.map(({ hits }) => hits).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, index) => 1001 + index),
    )
    // What is to happen once happens in the main thread.
    process.kill(program.child.pid ?? 0, 'SIGHUP')
    await program.line(/(Reloaded)/)
    expect(program.output.match(/(background|reloaded) in thread \d/g)).toEqual([
      'background in thread 0',
      'reloaded in thread 0',
    ])
  })

  test('threads: 1 starts none', async () => {
    await using program = await ThreadedProgram.start({ THREADS: '1' })
    expect((await program.ask()).thread).toBe(0)
    expect((await program.report()).threads).toEqual([])
  })

  test.each([
    ['load', /Server failed error="Worker thread 1 failed to start: load was told to fail/],
    [
      'service',
      /Server failed error="Worker thread 2 failed to start: service \\"failing\\": service was told to fail/,
    ],
    ['shape', /Server failed error="Worker thread 2 failed to start: it built the services .*extra/],
  ])(
    'a worker that fails at start (%s) fails the start: the process says why, status 1',
    async (how, line) => {
      await using program = new Program('threaded-server.ts', [], { env: { FAIL: how } })
      expect(await program.exited).toEqual([1, null])
      expect(program.log).toMatch(line)
    },
  )
})

describe('a worker that', () => {
  test('dies of an uncaught error takes its own connections along, nobody else, and is replaced', async () => {
    await using program = await ThreadedProgram.start()
    const clients = Array.from({ length: 20 }, () => new KeepAlive(program.port))
    const served = await Promise.all(clients.map((client) => client.ask()))
    const dead = (await program.ask('/throw')).thread
    await program.line(/Worker thread died thread=\d error="told to throw"/)
    const survivors = clients.filter((_, index) => served[index] !== dead)
    expect(await Promise.all(survivors.map((client) => client.ask()))).toEqual(survivors.map(() => 3 - dead))
    await program.line(/(Worker thread replaced)/)
    const { threads } = await program.until(({ threads }) =>
      threads.every(({ state }) => state === 'serving'),
    )
    expect(threads[dead - 1]?.deathCount).toBe(1)
    expect(threads[dead - 1]?.openCount).toBe(0)
    expect((await program.ask()).thread).toBe(dead) // it serves the fewest
    for (const client of clients) client.socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 0)
  })

  test('dies while there is no other leaves new connections waiting for its successor', async () => {
    await using program = await ThreadedProgram.start()
    await Promise.all([program.ask('/throw'), program.ask('/throw')])
    await program.line(/Worker thread died thread=1/)
    await program.line(/Worker thread died thread=2/)
    const answers = await Promise.all(Array.from({ length: 20 }, () => program.ask()))
    expect(answers).toHaveLength(20)
  })

  test('needs more heap than thread_heap_megabytes dies alone', { timeout: 30_000 }, async () => {
    await using program = await ThreadedProgram.start({ HEAP: '40' })
    const { thread } = await program.ask('/hoard')
    await program.line(/Worker thread died thread=\d error=".*memory/)
    await program.line(/(Worker thread replaced)/)
    const { threads } = await program.report()
    expect(threads.map(({ deathCount }) => deathCount)).toEqual(thread === 1 ? [1, 0] : [0, 1])
    await program.ask()
  })

  test('spins is reported, with the place, gets no more connections, and goes on', async () => {
    await using program = await ThreadedProgram.start({ WATCHDOG: '0.4' })
    const spinning = program.ask('/spin3600000')
    await program.line(/Worker thread is stuck.* where="?spin \(.*threaded-server\.ts:\d+\).* action=none/)
    const others = await Promise.all(Array.from({ length: 20 }, () => program.ask()))
    await get(program.ports.at(-1) ?? 0, '/stop')
    const { thread } = await spinning
    expect(new Set(others.map((answer) => answer.thread))).toEqual(new Set([3 - thread]))
    await program.line(/(Worker thread goes on)/)
    const { threads } = await program.report()
    expect(threads.map(({ deathCount }) => deathCount)).toEqual([0, 0])
    expect(threads[thread - 1]?.stuckCount).toBe(1)
  })

  test('spins for ever is replaced where that is configured', async () => {
    await using program = await ThreadedProgram.start({ WATCHDOG: '0.4', REPLACES: '1' })
    const spinning = program.ask('/spin3600000')
    await expect(spinning).rejects.toThrow()
    await program.line(/Worker thread died thread=\d error="The watchdog ended it"/)
    await program.line(/(Worker thread replaced)/)
    await program.ask()
  })
})

describe('caps', () => {
  test('of a service and of a client count over all threads', async () => {
    await using program = await ThreadedProgram.start({
      THREADS: '4',
      CONNECTIONS_MAX: '10',
      PER_IP_MAX: '8',
    })
    const clients = Array.from({ length: 8 }, () => new KeepAlive(program.port))
    const threads = await Promise.all(clients.map((client) => client.ask()))
    expect(new Set(threads).size).toBe(4)
    await expect(program.ask()).rejects.toThrow(/ECONNRESET|socket hang up/)
    const others = Array.from({ length: 2 }, () => new KeepAlive(program.port, '127.0.0.2'))
    await Promise.all(others.map((client) => client.ask()))
    await expect(get(program.port, '/', '127.0.0.3')).rejects.toThrow(/ECONNRESET|socket hang up/)
    clients[3]?.socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 9)
    await program.ask()
    expect((await program.report()).counters['refusedCount']).toBe(2)
    for (const client of [...clients, ...others]) client.socket.destroy()
  })

  test('of a client that a PROXY protocol header names count over all threads', async () => {
    await using program = await ThreadedProgram.start({ PER_IP_MAX: '3', PROXY: '1' })
    const [, port = 0] = program.ports
    const connect = (client: string) => {
      const one = new KeepAlive(port)
      one.socket.write(`PROXY TCP4 ${client} 10.0.0.1 1000 80\r\n`)
      return one
    }
    const first = Array.from({ length: 3 }, () => connect('192.0.2.1'))
    expect(new Set(await Promise.all(first.map((client) => client.ask()))).size).toBe(2)
    const refused = connect('192.0.2.1')
    await new Promise((resolve) => refused.socket.once('close', resolve))
    const other = connect('192.0.2.2')
    await other.ask()
    first[0]?.socket.destroy()
    await program.until(({ counters }) => counters['openCount'] === 3)
    await connect('192.0.2.1').ask()
    expect((await program.report()).counters['refusedCount']).toBe(1)
  })
})

describe('a drain', () => {
  test('lets running requests finish in every thread, and then ends the process', async () => {
    await using program = await ThreadedProgram.start()
    const idle = Array.from({ length: 10 }, () => new KeepAlive(program.port))
    await Promise.all(idle.map((client) => client.ask()))
    const closed = idle.map((client) => once(client.socket, 'close'))
    const running = [program.ask('/spin500'), program.ask('/spin500')]
    await program.until(({ counters }) => counters['openCount'] === 12)
    program.child.kill('SIGTERM')
    expect(new Set((await Promise.all(running)).map(({ thread }) => thread)).size).toBe(2)
    await Promise.all(closed)
    expect(await program.exited).toEqual([0, null])
    expect(program.output).toContain('thread 1 ended')
    expect(program.output).toContain('thread 2 ended')
  })

  test('of a worker that spins ends at the deadline', async () => {
    await using program = await ThreadedProgram.start({ GRACE: '0.3' })
    const spinning = program.ask('/spin3600000').catch((error: Error) => error)
    await program.until(({ counters }) => counters['openCount'] === 1)
    program.child.kill('SIGTERM')
    await program.line(/(Work is being cut)/)
    expect(await program.exited).toEqual([0, null])
    expect(program.log).toContain('Worker threads did not end in time')
    expect(await spinning).toBeInstanceOf(Error)
  })
})
