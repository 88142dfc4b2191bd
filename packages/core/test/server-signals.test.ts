import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { Client, Program } from './support.ts'

let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-server-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

function writeConf(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

async function connect(program: Program): Promise<Client> {
  const port = Number(await program.line(/^port (\d+)$/m))
  return new Client({ host: '127.0.0.1', port })
}

test('SIGTERM: idle connections are closed, a busy one finishes, and the process ends by itself', async () => {
  await using program = new Program('echo-server.ts')
  await using idle = await connect(program)
  await using busy = await connect(program)
  await busy.exchange('one', 'one')
  program.child.kill('SIGTERM')
  await idle.closed
  await program.line(/^(phase shutdown-grace-period)$/m)
  const { port } = busy.socket.address() as { port: number }
  expect(port).toBeGreaterThan(0)
  await using late = await connect(program)
  await late.closed
  expect(late.received).toBe('')
  await busy.exchange('two', 'onetwo')
  busy.socket.end()
  expect(await program.exited).toEqual([0, null])
  const phases = program.output.split('\n').filter((line) => /^(?:phase|cleanup)/.test(line))
  expect(phases.map((line) => line.replace('phase ', ''))).toEqual([
    'bootstrap',
    'bootstrap-complete',
    'running',
    'graceful-terminate',
    'shutdown-started',
    'shutdown-grace-period',
    'cleanup',
    'shutdown-runtimes',
    'terminated',
  ])
})

test('SIGQUIT without upgrade_sock drains like SIGTERM', async () => {
  await using program = new Program('echo-server.ts')
  await program.line(/^port (\d+)$/m)
  program.child.kill('SIGQUIT')
  expect(await program.exited).toEqual([0, null])
  expect(program.output).toContain('phase graceful-terminate')
})

test('SIGINT cuts what runs, and still cleans up', async () => {
  await using program = new Program('echo-server.ts')
  await using busy = await connect(program)
  await busy.exchange('one', 'one')
  program.child.kill('SIGINT')
  await busy.closed
  expect(await program.exited).toEqual([0, null])
  expect(program.output).not.toContain('grace')
  expect(program.output).toContain('cleanup')
})

test('a second signal cuts what a drain waits for, a third does not wait for cleanups', async () => {
  await using program = new Program('echo-server.ts', [], { env: { HANGING_CLEANUP: '1' } })
  await using busy = await connect(program)
  await busy.exchange('one', 'one')
  program.child.kill('SIGTERM')
  await program.line(/^(phase shutdown-grace-period)$/m)
  program.child.kill('SIGTERM')
  await busy.closed
  await program.line(/^(cleanup)$/m)
  program.child.kill('SIGTERM')
  expect(await program.exited).toEqual([0, null])
  expect(program.log).toContain('Services did not end in time services="[ \'echo\' ]"')
})

test('the grace period ends a drain, the shutdown timeout ends a cleanup', async () => {
  const conf = writeConf(
    'short.yaml',
    'grace_period_seconds: 0.05\ngraceful_shutdown_timeout_seconds: 0.05\n',
  )
  await using program = new Program('echo-server.ts', ['-c', conf], { env: { HANGING_CLEANUP: '1' } })
  await using busy = await connect(program)
  await busy.exchange('one', 'one')
  program.child.kill('SIGTERM')
  await busy.closed
  expect(await program.exited).toEqual([0, null])
  expect(program.log).toContain('Work is being cut services="[ \'echo\' ]"')
  expect(program.log).toContain('Services did not end in time')
})

test('SIGHUP reloads: a file with mistakes changes nothing, and what needs a restart is named', async () => {
  const conf = writeConf('reload.yaml', 'max_retries: 2\n')
  await using program = new Program('echo-server.ts', ['-c', conf])
  await using client = await connect(program)
  writeConf('reload.yaml', 'max_retires: 3\n')
  program.child.kill('SIGHUP')
  await program.line(/(Nothing was reloaded: the configuration has mistakes)/)
  writeConf('reload.yaml', 'max_retries: 3\n')
  program.child.kill('SIGHUP')
  await program.line(/(Changed settings need an upgrade or a restart keys="\[ 'max_retries' \]")/)
  await program.line(/(INFO Reloaded)/)
  await client.exchange('alive', 'alive')
})

test('the process id is in pid_file while the server runs, and the log in error_log', async () => {
  const pidFile = join(folder, 'server.pid')
  const errorLog = join(folder, 'server.log')
  const conf = writeConf('files.yaml', `pid_file: ${pidFile}\nerror_log: ${errorLog}\n`)
  await using program = new Program('echo-server.ts', ['--conf', conf])
  await program.line(/^port (\d+)$/m)
  expect(readFileSync(pidFile, 'utf8')).toBe(`${program.child.pid}\n`)
  // Rotation, as it is made for other servers; the debugger would say on stderr that it listens.
  renameSync(errorLog, `${errorLog}.1`)
  program.child.kill('SIGUSR1')
  while (!existsSync(errorLog) || !readFileSync(errorLog, 'utf8').includes('Reloaded')) await delay(5)
  program.child.kill('SIGTERM')
  expect(await program.exited).toEqual([0, null])
  expect(existsSync(pidFile)).toBe(false)
  expect(readFileSync(`${errorLog}.1`, 'utf8')).toContain('Listening service=echo')
  expect(readFileSync(errorLog, 'utf8')).toContain('Signal received signal=SIGTERM')
  expect(program.log).toBe('')
})

test('-t checks the configuration and starts nothing: status 0 or 1', async () => {
  await using good = new Program('echo-server.ts', ['-t', '-c', writeConf('good.yaml', 'max_retries: 2\n')])
  expect(await good.exited).toEqual([0, null])
  expect(good.log).toContain('Configuration is valid')
  expect(good.output).not.toContain('port')
  await using bad = new Program('echo-server.ts', [
    '-t',
    '-c',
    writeConf('bad.yaml', 'max_retires: 2\nthreads: 0\n'),
  ])
  expect(await bad.exited).toEqual([1, null])
  expect(bad.log).toContain('bad.yaml:1:1: "max_retires": unknown key; did you mean "max_retries"?')
  expect(bad.log).toContain('bad.yaml:2:10: "threads": expected "auto" or')
  expect(bad.log).not.toContain('    at ')
})

test('an unknown flag, and -u without upgrade_sock, end with status 1 and a clear message', async () => {
  await using typo = new Program('echo-server.ts', ['--tset'])
  expect(await typo.exited).toEqual([1, null])
  expect(typo.log).toContain('did you mean "--test"?')
  await using upgrade = new Program('echo-server.ts', ['-u'])
  expect(await upgrade.exited).toEqual([1, null])
  expect(upgrade.log).toContain('An upgrade needs \\"upgrade_sock\\" in the configuration')
})

test('an address in use ends with status 1 and names the address and the reason', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await vi.waitFor(() => expect(other.listening).toBe(true))
  try {
    const { port } = other.address() as { port: number }
    await using program = new Program('echo-server.ts', [], { env: { ADDRESS: `127.0.0.1:${port}` } })
    expect(await program.exited).toEqual([1, null])
    expect(program.log).toContain(
      `Cannot listen on 127.0.0.1:${port}: the address is in use by another socket`,
    )
  } finally {
    other.close()
  }
})

test('-d: the launcher ends with 0 when the daemon is ready, and the daemon outlives it', async () => {
  const pidFile = join(folder, 'daemon.pid')
  const errorLog = join(folder, 'daemon.log')
  const conf = writeConf('daemon.yaml', `pid_file: ${pidFile}\nerror_log: ${errorLog}\n`)
  await using launcher = new Program('echo-server.ts', ['-d', '-c', conf])
  expect(await launcher.exited).toEqual([0, null])
  const pid = Number(readFileSync(pidFile, 'utf8'))
  expect(launcher.log).toContain(`Daemon is ready pid=${pid}`)
  const port = Number(
    /Listening service=echo address=127.0.0.1:(\d+)/.exec(readFileSync(errorLog, 'utf8'))?.[1],
  )
  await using client = new Client({ host: '127.0.0.1', port })
  await client.exchange('alive', 'alive')
  process.kill(pid, 'SIGINT')
  await client.closed
  await vi.waitFor(() => expect(existsSync(pidFile)).toBe(false), 5000)
})

test('-d: the launcher ends with 1 and says why the daemon could not start', async () => {
  await using launcher = new Program('echo-server.ts', ['-d'], { env: { ADDRESS: '192.0.2.1:80' } })
  expect(await launcher.exited).toEqual([1, null])
  expect(launcher.log).toContain('The daemon failed: Cannot listen on 192.0.2.1:80: no interface')
})

test('user and group: becomes somebody else, all of it', async () => {
  const isRoot = process.getuid?.() === 0
  const conf = writeConf('user.yaml', 'user: "65534"\ngroup: "65534"\n')
  await using program = new Program('echo-server.ts', ['-c', conf])
  if (!isRoot) {
    expect(await program.exited).toEqual([1, null])
    expect(program.log).toContain('Cannot become user')
    return
  }
  await program.line(/^port (\d+)$/m)
  const status = readFileSync(`/proc/${program.child.pid}/status`, 'latin1')
  expect(status).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m)
  expect(status).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m)
  expect(status).toMatch(/^Groups:\t65534 *$/m)
})

test('running out of file descriptors does not end the server', async () => {
  await using program = new Program('echo-server.ts', [], { ulimit: 64 })
  const port = Number(await program.line(/^port (\d+)$/m))
  await program.line(/(connectionsMax is not below the limit of open files)/)
  const clients = Array.from({ length: 200 }, () => new Client({ host: '127.0.0.1', port }))
  // With no descriptor left, libuv accepts on a spare one and closes at once; nothing waits in the queue.
  const refused = Array.from({ length: 120 }, () => Promise.withResolvers<void>())
  let refusedCount = 0
  for (const client of clients)
    client.closed.then(
      () => refused[refusedCount++]?.resolve(),
      () => undefined,
    )
  await Promise.all(refused.map((one) => one.promise))
  for (const client of clients) client.socket.destroy()
  await Promise.all(clients.map((client) => client.closed))
  await vi.waitFor(async () => {
    await using after = new Client({ host: '127.0.0.1', port })
    after.socket.end('alive')
    await after.closed
    expect(after.received).toBe('alive')
  })
  program.child.kill('SIGTERM')
  expect(await program.exited).toEqual([0, null])
})
