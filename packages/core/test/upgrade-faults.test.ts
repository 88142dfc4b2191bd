import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { UpgradeLoad } from './support/upgrade-load.ts'
import { childrenOf, exitOf, UpgradeScene } from './support/upgrade-scene.ts'

/** The new process prepares itself until it is allowed to go on, so that it is caught in the middle of that. */
const slow = (scene: UpgradeScene) => ({ INIT_AWAITS: join(scene.folder, 'go') })
const letGoOn = (scene: UpgradeScene) => writeFileSync(join(scene.folder, 'go'), '')

/** A server with clients that notice whatever is lost. */
class LoadedScene extends UpgradeScene {
  old = 0
  #load: UpgradeLoad | undefined

  override async start(): Promise<number[]> {
    const ports = await super.start()
    this.old = this.pid
    const targets = [{ to: { host: '127.0.0.1', port: ports[0] ?? 0 } }]
    this.#load = new UpgradeLoad({ targets, newPerSecond: 60, keepAliveClients: 4, downloads: 2 })
    return ports
  }

  /** Ends the clients: what they noticed. */
  async stopLoad() {
    return await (this.#load as UpgradeLoad).stop()
  }

  /** The old server is in charge, nobody lost anything, and the next upgrade works. */
  async expectAsBefore(): Promise<void> {
    expect(this.pid).toBe(this.old)
    expect((await this.upgrade()).status, this.log).toBe(0)
    expect(this.pid).not.toBe(this.old)
    await this.settled()
    expect((await this.stopLoad()).failures, this.log).toEqual([])
  }
}

/** Sends one line to `upgrade_sock` and returns what comes until the end. */
async function say(path: string, text: string): Promise<string> {
  const socket = createConnection({ path })
  socket.on('error', () => undefined)
  let answer = ''
  socket.on('data', (data) => {
    answer += String(data)
  })
  socket.write(text)
  await once(socket, 'close')
  return answer
}

describe.skipIf(process.platform !== 'linux')(
  'a graceful upgrade in which something breaks',
  { timeout: 60_000 },
  () => {
    test('the new server cannot start: the old one serves on', async () => {
      await using scene = new LoadedScene()
      await scene.start()
      expect((await scene.upgrade({ FAIL: 'init' })).status).toBe(1)
      expect(scene.log).toContain('The new server failed: init was told to fail')
      expect(scene.log).toContain('Upgrade failed: this server serves on')
      await scene.expectAsBefore()
    })

    test('the new server hangs: it is given up after upgrade_ready_timeout_seconds', async () => {
      await using scene = new LoadedScene({ conf: 'upgrade_ready_timeout_seconds: 4\n' })
      await scene.start()
      expect((await scene.upgrade(slow(scene))).status).toBe(1)
      expect(scene.log).toContain('the new server was not ready within 4000 ms')
      await scene.expectAsBefore()
    })

    test('the new server is killed while it prepares: the old one serves on', async () => {
      await using scene = new LoadedScene()
      await scene.start()
      const launcher = scene.spawn(['-u'], slow(scene))
      process.kill(Number(await scene.line(/preparing (\d+)/)), 'SIGKILL')
      expect(await exitOf(launcher)).toBe(1)
      expect(scene.log).toContain('The new server ended before it was ready (SIGKILL)')
      await scene.line(/(Upgrade failed: this server serves on)/)
      await scene.expectAsBefore()
    })

    test('the helper is killed: the new server leaves, the old one serves on', async () => {
      await using scene = new LoadedScene()
      await scene.start()
      const launcher = scene.spawn(['-u'], slow(scene))
      await scene.line(/preparing (\d+)/)
      const helpers = childrenOf(scene.old)
      expect(helpers).toHaveLength(1)
      for (const helper of helpers) process.kill(helper, 'SIGKILL')
      expect(await exitOf(launcher)).toBe(1)
      await scene.expectAsBefore()
    })

    test('the new server fails after it got listeners: it serves what it accepted, the old one serves on', async () => {
      await using scene = new LoadedScene()
      await scene.start()
      const blocker = createServer().listen(0, '127.0.0.1')
      await once(blocker, 'listening')
      const { port: taken } = blocker.address() as { port: number }
      expect((await scene.upgrade({ EXTRA: `127.0.0.1:${taken}` })).status).toBe(1)
      expect(scene.log).toContain(`The new server failed: Cannot listen on 127.0.0.1:${taken}`)
      blocker.close()
      await scene.expectAsBefore()
    })

    test('the old server is killed in the middle: the new one takes over, and nobody is refused', async () => {
      await using scene = new LoadedScene()
      await scene.start()
      const launcher = scene.spawn(['-u'], slow(scene))
      await scene.line(/preparing (\d+)/)
      process.kill(scene.old, 'SIGKILL')
      letGoOn(scene)
      expect(await exitOf(launcher), scene.log).toBe(0)
      expect(scene.pid).not.toBe(scene.old)
      expect((await scene.upgrade()).status).toBe(0)
      const { failures, generations } = await scene.stopLoad()
      // Only what the old one held is lost: at most its keep-alive connections, downloads, and one request or two.
      expect(failures.filter((line) => line.includes('ECONNREFUSED'))).toEqual([])
      expect(failures.length).toBeLessThan(20)
      expect(generations).toContain('3')
    })

    test('a second upgrade at the same time is refused, and does not disturb the first', async () => {
      await using scene = new UpgradeScene()
      await scene.start()
      const first = scene.spawn(['-u'], slow(scene))
      await scene.line(/preparing (\d+)/)
      expect((await scene.upgrade()).status).toBe(1)
      expect(scene.log).toContain('The running server refused: another upgrade is under way')
      letGoOn(scene)
      expect(await exitOf(first)).toBe(0)
    })

    test('a foreign version, garbage and silence on upgrade_sock do no harm', async () => {
      await using scene = new UpgradeScene()
      await scene.start()
      const silent = createConnection({ path: scene.sock })
      await once(silent, 'connect')
      expect(await say(scene.sock, '{"t":"hello","v":99,"pid":1}\n')).toBe(
        '{"t":"no","err":"version","v":1}\n',
      )
      expect(await say(scene.sock, '{"t":"what"}\n')).toBe('{"t":"no","err":"protocol"}\n')
      expect(await say(scene.sock, '{"t":"ping"}\n')).toContain('"draining":false')
      for (const junk of ['GET / HTTP/1.1\r\n\r\n', '\n', '[]\n', 'null\n', 'x'.repeat(5000)]) {
        expect(await say(scene.sock, junk)).not.toContain('go')
      }
      expect((await scene.upgrade()).status).toBe(0)
      silent.destroy()
      const many = Array.from({ length: 17 }, () => createConnection({ path: scene.sock }))
      await Promise.race(many.map((socket) => once(socket, 'close'))) // 16 may be silent at once
      for (const socket of many) socket.destroy()
    })

    test('SIGQUIT and --upgrade come in either order; one that leaves while it waits frees its place', async () => {
      await using scene = new UpgradeScene({ conf: 'upgrade_waits_for_signal: true\n' })
      await scene.start()
      const first = scene.pid
      process.kill(first, 'SIGQUIT')
      await scene.line(/(hand over to the next new server)/)
      expect((await scene.upgrade()).status).toBe(0)
      await scene.settled()
      const second = scene.pid
      const impatient = scene.spawn(['-u'])
      await scene.line(/(A new server waits for SIGQUIT)/)
      impatient.kill('SIGKILL')
      await scene.line(/(The waiting new server left)/)
      const launcher = scene.spawn(['-u'])
      await scene.line(/A new server waits for SIGQUIT.*(A new server waits for SIGQUIT)/s)
      expect(scene.pid).toBe(second)
      process.kill(second, 'SIGQUIT')
      expect(await exitOf(launcher)).toBe(0)
      expect(scene.pid).not.toBe(second)
    })

    test('SIGTERM to the old server in the middle cancels the upgrade and ends it', async () => {
      await using scene = new UpgradeScene()
      await scene.start()
      const launcher = scene.spawn(['-u'], slow(scene))
      await scene.line(/preparing (\d+)/)
      process.kill(scene.pid, 'SIGTERM')
      expect(await exitOf(launcher)).toBe(1)
      while (scene.alive().length > 0) await delay(20)
      expect([existsSync(scene.sock), existsSync(scene.pidFile)]).toEqual([false, false])
    })

    test('a start without --upgrade is refused beside a running server, and replaces stale files', async () => {
      await using scene = new UpgradeScene()
      await scene.start()
      expect(await exitOf(scene.spawn())).toBe(1)
      expect(scene.log).toContain(
        `answers at ${scene.sock}: take over from it with --upgrade, or stop it first`,
      )
      process.kill(scene.pid, 'SIGKILL')
      while (scene.alive().length > 0) await delay(5)
      expect(existsSync(scene.sock)).toBe(true)
      expect((await scene.upgrade()).status).toBe(1)
      expect(scene.log).toContain('Nothing to upgrade: no server answers at')
      await scene.start()
      expect((await scene.upgrade()).status).toBe(0)
    })

    test('upgrade_sock never replaces a file of another kind', async () => {
      await using scene = new UpgradeScene()
      writeFileSync(scene.sock, 'precious')
      expect(await exitOf(scene.spawn())).toBe(1)
      await scene.line(/(Cannot listen on upgrade_sock: .* exists and is not a socket)/)
      expect(readFileSync(scene.sock, 'utf8')).toBe('precious')
    })

    test('a Unix listener that the new server does not have leaves no file, and state is handed over', async () => {
      await using scene = new UpgradeScene()
      const path = join(scene.folder, 'web.sock')
      const first = scene.spawn([], { UNIX: path })
      await scene.line(/(running \d+ generation 1)/)
      expect(existsSync(path)).toBe(true)
      expect((await scene.upgrade()).status).toBe(0)
      expect(existsSync(path)).toBe(false)
      expect(scene.log).toContain('imported {"isFirst":true,"text":"remembered"}')
      expect((await scene.upgrade()).status).toBe(0)
      expect(scene.log).toContain('imported {"isFirst":false,"text":"remembered"}')
      process.kill(scene.pid, 'SIGHUP')
      await scene.line(/^(reloaded)$/m)
      await exitOf(first)
    })

    test('-d -u: the successor is a daemon that writes to error_log', async () => {
      await using scene = new UpgradeScene()
      await scene.start()
      const errorLog = join(scene.folder, 'error.log')
      scene.configure(`error_log: ${errorLog}\n`)
      expect(await exitOf(scene.spawn(['-u', '-d'])), scene.log).toBe(0)
      expect(readFileSync(errorLog, 'utf8')).toContain(`running ${scene.pid} generation 2`)
      const { 5: session } = readFileSync(`/proc/${scene.pid}/stat`, 'utf8').split(' ')
      expect(Number(session)).toBe(scene.pid)
      process.kill(scene.pid, 'SIGKILL')
    })
  },
)

/**
 * A stand-in for an old server whose helper dies after the new one has said that it is ready. It has no listeners
 * to pass on, so the new server binds its own.
 */
class DyingHelper implements AsyncDisposable {
  readonly #server = createServer((socket) => this.#serve(socket))
  #isDraining = false

  constructor(path: string, whenReady: 'draining' | 'serving') {
    this.#server.listen(path)
    this.#isDraining = whenReady === 'draining'
  }

  #serve(socket: Socket): void {
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      for (const text of String(data)
        .split('\n')
        .filter((one) => one !== '')) {
        const { t } = JSON.parse(text) as { t: string }
        const answers: Record<string, object[]> = {
          ping: [{ t: 'pong', pid: process.pid, draining: this.#isDraining, signal: false }],
          hello: [{ t: 'go', v: 1, pid: process.pid, keys: [] }],
          want: [
            { t: 'state', state: { generation: 6, services: {} } },
            { t: 'end', n: 0 },
          ],
        }
        for (const answer of answers[t] ?? []) socket.write(`${JSON.stringify(answer)}\n`)
        if (t === 'ready') socket.destroy()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    await delay(0)
  }
}

describe.skipIf(process.platform !== 'linux')('the confirmation never comes', () => {
  test('the old server drains: the new one takes over', async () => {
    await using scene = new UpgradeScene()
    await using _old = new DyingHelper(scene.sock, 'draining')
    expect((await scene.upgrade()).status, scene.log).toBe(0)
    expect(scene.log).toContain(`running ${scene.pid} generation 7`)
  })

  test('the old server serves on: the new one leaves', async () => {
    await using scene = new UpgradeScene()
    writeFileSync(scene.pidFile, '1\n')
    await using _old = new DyingHelper(scene.sock, 'serving')
    expect((await scene.upgrade()).status).toBe(1)
    expect(scene.log).toContain('The new server failed: The old server serves on')
    expect(scene.log).not.toContain('running')
    expect(scene.pid).toBe(1)
    while (scene.alive().length > 0) await delay(20)
  })
})
