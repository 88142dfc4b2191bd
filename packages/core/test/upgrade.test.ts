import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import {
  UpgradeLoad,
  type UpgradeLoadOptions,
  type UpgradeLoadResult,
  type UpgradeTarget,
} from './support/upgrade-load.ts'
import { UpgradeScene } from './support/upgrade-scene.ts'
import { Client } from './support.ts'

// The whole proof takes minutes: CIRQUE_UPGRADES=20 vitest run --project core upgrade.test
const UPGRADES = Number(process.env['CIRQUE_UPGRADES'] ?? 3)
const TIMEOUT_MS = 60_000 + UPGRADES * 6000

describe.skipIf(process.platform !== 'linux')(`${UPGRADES} upgrades`, () => {
  test('lose no new connection, no keep-alive request and no download', { timeout: TIMEOUT_MS }, async () => {
    await using scene = new UpgradeScene()
    const [port = 0] = await scene.start()
    const targets: UpgradeTarget[] = [{ to: { host: '127.0.0.1', port } }]
    await proveNoLoss(scene, { targets, newPerSecond: 150, keepAliveClients: 10, downloads: 4 })
    expect(statSync(scene.sock).mode & 0o777).toBe(0o600)
    process.kill(scene.pid, 'SIGTERM')
    while (scene.alive().length > 0) await delay(20)
    expect([existsSync(scene.sock), existsSync(scene.pidFile)]).toEqual([false, false])
  })

  test('of TCP, Unix and TLS listeners, with HTTP/2, lose nothing, and resume sessions', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cirque-upgrade-unix-'))
    const path = join(folder, 'web.sock')
    try {
      await using scene = new UpgradeScene({
        env: { UNIX: path, TLS_CERT: data('localhost.pem'), TLS_KEY: data('localhost-key.pem') },
      })
      const [port = 0, tlsPort = 0] = await scene.start()
      const host = '127.0.0.1'
      const targets = [
        { to: { host, port } },
        { to: { path } },
        { to: { host, port: tlsPort }, tls: true, http2: true },
      ]
      const result = await proveNoLoss(scene, {
        targets,
        newPerSecond: 30,
        keepAliveClients: 4,
        downloads: 1,
      })
      // Clients that connect before the first ticket has come do a full handshake, and nobody else.
      expect(result.tlsResumed).toBeGreaterThan(result.tlsFull * 2)
      expect(result.http2Requests).toBeGreaterThan(UPGRADES * 20)
      expect(existsSync(path)).toBe(true)
      process.kill(scene.pid, 'SIGTERM')
      while (scene.alive().length > 0) await delay(20)
      expect(existsSync(path)).toBe(false)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe.skipIf(process.platform !== 'linux')(`${UPGRADES} upgrades with 2 worker threads`, () => {
  test('lose nothing, and resume sessions in whatever thread', { timeout: TIMEOUT_MS }, async () => {
    await using scene = new UpgradeScene({
      conf: 'threads: 2\nupgrade_close_timeout_seconds: 1.5\n',
      env: { TLS_CERT: data('localhost.pem'), TLS_KEY: data('localhost-key.pem') },
    })
    const [port = 0, tlsPort = 0] = await scene.start()
    const host = '127.0.0.1'
    const targets = [{ to: { host, port } }, { to: { host, port: tlsPort }, tls: true, http2: true }]
    const result = await proveNoLoss(scene, { targets, newPerSecond: 60, keepAliveClients: 6, downloads: 2 })
    expect(result.tlsResumed).toBeGreaterThan(result.tlsFull * 2)
    process.kill(scene.pid, 'SIGTERM')
    while (scene.alive().length > 0) await delay(20)
  })

  test('that accept themselves (reusePort) lose nothing, nor when their number changes', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const more = 'upgrade_close_timeout_seconds: 1.5\n'
    await using scene = new UpgradeScene({ conf: `threads: 3\n${more}`, env: { REUSE: '1' } })
    const [port = 0] = await scene.start()
    const targets: UpgradeTarget[] = [{ to: { host: '127.0.0.1', port } }]
    await proveNoLoss(scene, { targets, newPerSecond: 100, keepAliveClients: 6, downloads: 2 }, (upgrade) =>
      scene.configure(`threads: ${[2, 4, 1][upgrade % 3]}\n${more}`),
    )
    process.kill(scene.pid, 'SIGTERM')
    while (scene.alive().length > 0) await delay(20)
  })
})

describe.skipIf(process.platform !== 'linux')('a tunnel', () => {
  test('stays with the old server, which stays until the tunnel ends', async () => {
    await using scene = new UpgradeScene({ env: { ECHO: '127.0.0.1:0' } })
    await scene.start()
    const old = scene.pid
    const port = Number(await scene.line(/Listening service=echo address=127.0.0.1:(\d+)/))
    await using tunnel = new Client({ host: '127.0.0.1', port })
    await tunnel.exchange('one', 'one')
    expect((await scene.upgrade()).status).toBe(0)
    await using next = new Client({ host: '127.0.0.1', port })
    await next.exchange('a', 'a')
    await scene.line(new RegExp(`(${old} phase shutdown-grace-period)`))
    await tunnel.exchange('two', 'onetwo')
    expect(scene.alive()).toHaveLength(2)
    tunnel.socket.end()
    await scene.settled()
    expect(scene.alive()).toEqual([scene.pid])
    await next.exchange('b', 'ab')
  })
})

async function proveNoLoss(
  scene: UpgradeScene,
  options: UpgradeLoadOptions,
  before?: (upgrade: number) => void,
): Promise<UpgradeLoadResult> {
  const load = new UpgradeLoad(options)
  const tookMs: number[] = []
  const pids = [scene.pid]
  for (let count = 0; count < UPGRADES; count += 1) {
    before?.(count)
    const { status, tookMs: one } = await scene.upgrade()
    expect(status, scene.log).toBe(0)
    tookMs.push(Math.round(one))
    pids.push(scene.pid)
    await scene.settled()
  }
  const result = await load.stop()
  expect(result.failures, scene.log).toEqual([])
  expect(result.generations).toHaveLength(UPGRADES + 1)
  expect(new Set(pids).size).toBe(UPGRADES + 1)
  if (process.env['CIRQUE_UPGRADES'] !== undefined) {
    process.stderr.write(`${JSON.stringify({ ...result, commandMs: tookMs.sort((a, b) => a - b) })}\n`)
  }
  return result
}

function data(name: string): string {
  return join(import.meta.dirname, 'data', name)
}
