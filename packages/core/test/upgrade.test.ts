import { existsSync, statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { UpgradeLoad, type UpgradeTarget } from './support/upgrade-load.ts'
import { UpgradeScene } from './support/upgrade-scene.ts'

// The whole proof takes a minute: CIRQUE_UPGRADES=20 vitest run --project core upgrade.test
const UPGRADES = Number(process.env['CIRQUE_UPGRADES'] ?? 3)

describe.skipIf(process.platform !== 'linux')('graceful upgrade', () => {
  test(`${UPGRADES} upgrades lose no new connection, no keep-alive request and no download`, {
    timeout: 60_000 + UPGRADES * 5000,
  }, async () => {
    await using scene = new UpgradeScene()
    const [port] = await scene.start()
    const targets: UpgradeTarget[] = [{ to: { host: '127.0.0.1', port: port ?? 0 } }]
    const load = new UpgradeLoad({ targets, newPerSecond: 150, keepAliveClients: 10, downloads: 4 })
    const tookMs: number[] = []
    const pids = [scene.pid]
    for (let count = 0; count < UPGRADES; count += 1) {
      const { status, tookMs: one } = await scene.upgrade()
      expect(status, scene.log).toBe(0)
      tookMs.push(one)
      pids.push(scene.pid)
      await scene.settled()
    }
    const result = await load.stop()
    expect(result.failures, scene.log).toEqual([])
    expect(result.generations).toHaveLength(UPGRADES + 1)
    expect(new Set(pids).size).toBe(UPGRADES + 1)
    expect(statSync(scene.sock).mode & 0o777).toBe(0o600)
    if (process.env['CIRQUE_UPGRADES'] !== undefined) {
      const sorted = tookMs.map(Math.round).sort((a, b) => a - b)
      process.stderr.write(`${JSON.stringify({ ...result, commandMs: sorted })}\n`)
    }
    process.kill(scene.pid, 'SIGTERM')
    while (scene.alive().length > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    expect([existsSync(scene.sock), existsSync(scene.pidFile)]).toEqual([false, false])
  })
})
