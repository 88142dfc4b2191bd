import { readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { supervise } from '../src/index.ts'
import { UpgradeLoad } from './support/upgrade-load.ts'
import { exitOf, UpgradeScene } from './support/upgrade-scene.ts'

describe.skipIf(process.platform !== 'linux')('supervisor', () => {
  test('SIGUSR2 changes generations under load; SIGTERM ends all with status 0', async () => {
    await using scene = new UpgradeScene({
      conf: 'upgrade_waits_for_signal: true\n',
      program: 'supervisor.ts',
    })
    const supervisor = scene.spawn()
    const port = Number(await scene.line(/generation 1 at .*:(\d+)\n/))
    const targets = [{ to: { host: '127.0.0.1', port } }]
    const load = new UpgradeLoad({ targets, newPerSecond: 60, keepAliveClients: 4, downloads: 1 })
    for (const generation of [2, 3]) {
      supervisor.kill('SIGUSR2')
      await scene.line(new RegExp(`(running \\d+ generation ${generation}).*has taken over`, 's'))
      await scene.settled()
    }
    // One that cannot start leaves everything as it is.
    const conf = readFileSync(scene.conf, 'utf8')
    writeFileSync(scene.conf, `${conf}mistake: 1\n`)
    supervisor.kill('SIGUSR2')
    await scene.line(/(Upgrade failed)/)
    writeFileSync(scene.conf, conf)
    supervisor.kill('SIGHUP')
    await scene.line(/^(reloaded)$/m)
    const { failures, generations } = await load.stop()
    expect(failures, scene.log).toEqual([])
    expect(generations).toEqual(['1', '2', '3'])
    supervisor.kill('SIGTERM')
    expect(await exitOf(supervisor)).toBe(0)
    expect(scene.alive()).toEqual([])
  })

  test('ends with the status of a server that fails', async () => {
    await using scene = new UpgradeScene({ env: { ADDRESS: '192.0.2.1:80' }, program: 'supervisor.ts' })
    expect(await exitOf(scene.spawn())).toBe(1)
    await using killed = new UpgradeScene({ program: 'supervisor.ts' })
    const supervisor = killed.spawn()
    await killed.line(/(running \d+ generation 1)/)
    process.kill(killed.pid, 'SIGKILL')
    expect(await exitOf(supervisor)).toBe(128 + 9)
  })

  test('refuses what cannot work', async () => {
    await expect(supervise({ script: 'x.js' })).rejects.toThrow('needs "upgrade_sock"')
    await expect(supervise({ script: '' })).rejects.toThrow(TypeError)
    await expect(supervise({ script: 'x.js', argv: ['-d'] })).rejects.toThrow('neither -d nor -u')
  })
})
