import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { exitOf } from './support/upgrade-scene.ts'
import { Client } from './support.ts'

const PROGRAM = join(import.meta.dirname, 'programs/upgrade-server.ts')
const hasActivate = has('systemd-socket-activate')
if (!hasActivate) process.stderr.write('Skipped: systemd-socket-activate is not installed\n')

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-systemd-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

function has(command: string): boolean {
  try {
    execFileSync('which', [command], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A process and all it says. */
class Running implements AsyncDisposable {
  readonly child: ChildProcess
  output = ''

  constructor(command: string, argv: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (data) => {
        this.output += String(data)
      })
    }
  }

  async line(pattern: RegExp): Promise<string> {
    for (let count = 0; count < 1500; count += 1) {
      const found = pattern.exec(this.output)
      if (found !== null) return found[1] ?? ''
      await delay(10)
    }
    throw new Error(`No ${pattern} in ${this.output}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await exitOf(this.child)
  }
}

test.skipIf(!hasActivate)(
  'socket activation: takes TCP and Unix sockets by address, and names what is left',
  async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as { port: number }
    probe.close()
    await once(probe, 'close')
    const path = join(folder, 'activated.sock')
    await using program = new Running('systemd-socket-activate', [
      ...['-l', `127.0.0.1:${port}`, '-l', path, '-l', join(folder, 'unclaimed.sock')],
      ...['-E', `ADDRESS=127.0.0.1:${port}`, '-E', `UNIX=${path}`],
      ...[process.execPath, '--conditions=@cirque/source', PROGRAM],
    ])
    await program.line(/(Listening on .*unclaimed)/)
    // The first connection starts the program, and waits for it.
    await using first = new Client({ host: '127.0.0.1', port })
    const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    first.socket.write(request)
    await program.line(/(running \d+ generation 1)/)
    await program.line(/Sockets of systemd belong to no listener (addresses="\[ 'unix:.*unclaimed.sock' \]")/)
    await using second = new Client({ path })
    second.socket.write(request)
    while (!first.received.includes('gen=1') || !second.received.includes('gen=1')) await delay(10)
    program.child.kill('SIGTERM')
    await exitOf(program.child)
    expect(existsSync(path)).toBe(true) // systemd's, for the next start
  },
)

test('Type=notify: ready when it serves, stopping when it ends, each with the process id', async () => {
  const bin = join(folder, 'bin')
  execFileSync('mkdir', [bin])
  const said = join(folder, 'said')
  writeFileSync(join(bin, 'systemd-notify'), `#!/bin/sh\necho "$@" >> ${said}\n`)
  chmodSync(join(bin, 'systemd-notify'), 0o755)
  await using program = new Running(process.execPath, ['--conditions=@cirque/source', PROGRAM], {
    NOTIFY_SOCKET: join(folder, 'notify'),
    PATH: `${bin}:${process.env['PATH']}`,
  })
  const line = (state: string) => `--no-block --pid=${program.child.pid} ${state}\n`
  while (!existsSync(said) || readFileSync(said, 'utf8') !== line('READY=1')) await delay(10)
  await program.line(/(phase running)/)
  program.child.kill('SIGTERM')
  expect(await exitOf(program.child)).toBe(0)
  expect(readFileSync(said, 'utf8')).toBe(line('READY=1') + line('STOPPING=1'))
})
