import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'

test('a new process takes over between two requests, the count goes on, and a slow answer still comes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-restart-'))
  const conf = join(folder, 'conf.yaml')
  const pidFile = join(folder, 'pid')
  writeFileSync(
    conf,
    `upgrade_sock: ${join(folder, 'sock')}\npid_file: ${pidFile}\nupgrade_waits_for_signal: false\n`,
  )
  const argv = ['--ba', '127.0.0.1:0', '-c', conf]
  let successor = 0
  try {
    await using first = new ExampleProcess('graceful-restart', argv)
    const address = await first.address()
    expect((await request(address, '/')).body).toMatch(/^visit 1, generation 1/)
    const slow = request(address, '/slow')
    await using launcher = new ExampleProcess('graceful-restart', [...argv, '-u'])
    await launcher.output(/The new server has taken over pid=(\d+)/)
    successor = Number(readFileSync(pidFile, 'utf8'))
    expect((await request(address, '/')).body).toBe(`visit 3, generation 2, process ${successor}\n`)
    expect((await slow).body).toMatch(/^visit 2, generation 1/)
    expect((await first.ended).status).toBe(0)
    process.kill(successor, 'SIGTERM')
    successor = 0
    expect((await launcher.ended).status).toBe(0) // its output is the successor's, too
  } finally {
    if (successor !== 0) process.kill(successor, 'SIGKILL')
    rmSync(folder, { recursive: true })
  }
})
