import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { UpgradeScene } from '../../core/test/support/upgrade-scene.ts'

// The whole proof takes a minute: CIRQUE_UPGRADES=20 vitest run --project proxy graceful-websocket
const UPGRADES = Number(process.env['CIRQUE_UPGRADES'] ?? 3)
const CLIENTS = 8
const MESSAGES = 6

/** Short conversations, one after another, each counted; what goes wrong has a name. */
class Talkers {
  conversations = 0
  readonly failures: string[] = []
  #isStopping = false
  readonly #running: Promise<void>[]
  readonly #url: string

  constructor(url: string) {
    this.#url = url
    this.#running = Array.from({ length: CLIENTS }, () => this.#talk())
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#running)
  }

  async #talk(): Promise<void> {
    while (!this.#isStopping) {
      try {
        await this.#converse()
        this.conversations += 1
      } catch (error) {
        this.failures.push((error as Error).message)
        await delay(20)
      }
    }
  }

  async #converse(): Promise<void> {
    const socket = new WebSocket(this.#url)
    const closed = once(socket, 'close')
    closed.catch(() => undefined) // an error before is told by what is awaited then
    await once(socket, 'open')
    for (let count = 0; count < MESSAGES; count += 1) {
      const heard = once(socket, 'message')
      socket.send(`message ${count}`)
      const [data] = await heard
      if (String(data) !== `message ${count}`) throw new Error(`heard ${data}`)
      await delay(15)
    }
    socket.close(1000)
    const [code] = await closed
    if (code !== 1000) throw new Error(`closed with ${code}`)
  }
}

describe.skipIf(process.platform !== 'linux')('upgrades under WebSocket clients', () => {
  test(`${UPGRADES} upgrades lose no handshake, no message and no close`, {
    timeout: 60_000 + UPGRADES * 6000,
  }, async () => {
    const origin = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(origin, 'listening')
    origin.on('connection', (socket) => {
      socket.on('message', (data, binary) => socket.send(data, { binary }))
      socket.on('error', () => undefined)
    })
    try {
      await using scene = new UpgradeScene({
        program: join(import.meta.dirname, 'programs/graceful-proxy.ts'),
        env: { PEER: `127.0.0.1:${(origin.address() as AddressInfo).port}` },
        // Long enough for the longest conversation on a busy machine.
        conf: 'upgrade_close_timeout_seconds: 10\n',
      })
      const [port = 0] = await scene.start()
      const url = `ws://127.0.0.1:${port}/`
      const talkers = new Talkers(url)
      // One that stays for as long as the old server stays for it.
      const patient = new WebSocket(url)
      await once(patient, 'open')
      for (let count = 0; count < UPGRADES; count += 1) {
        const { status } = await scene.upgrade()
        expect(status, scene.log).toBe(0)
        if (count > 0) {
          await scene.settled()
          continue
        }
        const heard = once(patient, 'message')
        patient.send('still here')
        expect(String((await heard)[0])).toBe('still here')
        patient.close(1000)
        expect((await once(patient, 'close'))[0]).toBe(1000)
        await scene.settled()
      }
      await talkers.stop()
      expect(talkers.failures, scene.log).toEqual([])
      expect(talkers.conversations).toBeGreaterThan(UPGRADES * CLIENTS)
      if (process.env['CIRQUE_UPGRADES'] !== undefined) {
        process.stderr.write(`${talkers.conversations} conversations, 0 lost\n`)
      }
    } finally {
      for (const socket of origin.clients) socket.terminate()
      origin.close()
    }
  })
})
