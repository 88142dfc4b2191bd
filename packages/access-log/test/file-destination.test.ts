import { execFileSync, spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { until } from '../../proxy/test/support/observed-proxy.ts'
import { fileDestination } from '../src/index.ts'

function folder(): Disposable & { readonly path: (name: string) => string } {
  const path = mkdtempSync(join(tmpdir(), 'cirque-log-'))
  return { path: (name) => join(path, name), [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

test('lines arrive in their order, soon and at the latest at the end', async () => {
  using temporary = folder()
  const path = temporary.path('access.log')
  const destination = fileDestination(path, { flushIntervalMs: 1 })
  expect(destination.write('one')).toBe(true)
  await until(() => readFileSync(path, 'utf8') === 'one\n')
  expect(statSync(path).mode & 0o777).toBe(0o640)
  const lines = Array.from({ length: 5_000 }, (_, index) => `line ${index} ${'x'.repeat(40)}`)
  for (const line of lines) expect(destination.write(line)).toBe(true)
  await destination.close()
  expect(readFileSync(path, 'utf8')).toBe(`one\n${lines.join('\n')}\n`)
  expect(destination.stats()).toEqual({ writtenCount: 5_001, droppedCount: 0, waitingBytes: 0 })
  expect(destination.write('late')).toBe(false)
  expect(destination.stats().droppedCount).toBe(1)
  await destination.close()
})

test('lines of any length and in any script arrive whole', async () => {
  using temporary = folder()
  const path = temporary.path('access.log')
  const destination = fileDestination(path, { bufferBytesMax: 16_777_216, flushIntervalMs: 60_000 })
  const lines: string[] = []
  for (const length of [0, 1, 2_047, 2_048, 87_380, 87_381, 87_382, 262_143, 262_144, 600_000]) {
    lines.push('x'.repeat(length), '\u20ac'.repeat(length), 'between', '\ud83d\ude00')
  }
  for (const line of lines) expect(destination.write(line)).toBe(true)
  await destination.close()
  expect(readFileSync(path, 'utf8') === `${lines.join('\n')}\n`).toBe(true)
  expect(destination.stats()).toEqual({ writtenCount: lines.length, droppedCount: 0, waitingBytes: 0 })
})

test('no more than bufferBytesMax waits: what is beyond is dropped and counted', async () => {
  using temporary = folder()
  const destination = fileDestination(temporary.path('a'), { bufferBytesMax: 1_024, flushIntervalMs: 60_000 })
  const line = 'x'.repeat(127) // 128 bytes with its break
  for (let count = 0; count < 8; count++) expect(destination.write(line)).toBe(true)
  expect(destination.stats().waitingBytes).toBe(1_024)
  expect(destination.write('')).toBe(false)
  await destination.close()
  expect(destination.stats()).toEqual({ writtenCount: 8, droppedCount: 1, waitingBytes: 0 })
})

test('after a rotation reopen() goes on in a new file, and no line is lost', async () => {
  using temporary = folder()
  const path = temporary.path('access.log')
  const rotated = temporary.path('access.log.1')
  const destination = fileDestination(path, { flushIntervalMs: 0 })
  const lines = Array.from({ length: 4_000 }, (_, index) => `line ${index} ${'x'.repeat(60)}`)
  for (const [index, line] of lines.entries()) {
    destination.write(line)
    if (index === 2_000) {
      renameSync(path, rotated)
      await Promise.all([destination.reopen(), destination.reopen()])
    }
  }
  await destination.close()
  const [before, after] = [readFileSync(rotated, 'utf8'), readFileSync(path, 'utf8')]
  expect(before + after).toBe(`${lines.join('\n')}\n`)
  expect(after.length).toBeGreaterThan(0)
})

test('a file that cannot be opened again leaves the old one in use', async () => {
  using temporary = folder()
  const path = temporary.path('sub')
  execFileSync('mkdir', [path])
  const file = join(path, 'a')
  const destination = fileDestination(file)
  renameSync(path, temporary.path('moved'))
  await expect(destination.reopen()).rejects.toThrow('ENOENT')
  destination.write('still')
  await destination.close()
  expect(readFileSync(join(temporary.path('moved'), 'a'), 'utf8')).toBe('still\n')
})

test.skipIf(process.platform !== 'linux')(
  'a write that fails loses its lines and counts them; destroy() lets go',
  async () => {
    const destination = fileDestination('/dev/full', { flushIntervalMs: 0 })
    destination.write('a')
    await until(() => destination.stats().droppedCount === 1)
    destination.write('b')
    destination.destroy()
    await destination.close()
    expect(destination.stats()).toEqual({ writtenCount: 0, droppedCount: 2, waitingBytes: 0 })
  },
)

test.skipIf(process.platform === 'win32')(
  'a reader that does not read holds nobody up: lines wait, then drop, then go on',
  async () => {
    using temporary = folder()
    const path = temporary.path('pipe')
    execFileSync('mkfifo', [path])
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    const destination = fileDestination(writer, { bufferBytesMax: 200_000, flushIntervalMs: 0 })
    const line = 'x'.repeat(999)
    let dropped = 0
    for (let round = 0; round < 40; round++) {
      for (let count = 0; count < 25; count++) if (!destination.write(line)) dropped++
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(dropped).toBeGreaterThan(500)
    expect(destination.stats().waitingBytes).toBeLessThanOrEqual(200_000)
    destination.destroy()
    await destination.close()
    expect(destination.stats().waitingBytes).toBe(0)
    closeSync(reader)
    closeSync(writer)
  },
)

test.skipIf(process.platform === 'win32')('threads that share a pipe never tear a line apart', async () => {
  const program = join(import.meta.dirname, 'programs/pipe-writers.ts')
  const child = spawn(process.execPath, ['--conditions=@cirque/source', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  for await (const chunk of child.stdout.setEncoding('latin1')) {
    text += chunk
    await new Promise((resolve) => setImmediate(resolve)) // slower than they write
  }
  const next = new Map<string, number>()
  for (const line of text.trimEnd().split('\n')) {
    const [, thread = '', index, filling = ''] = /^(\d) (\d+) (\d*)\.$/.exec(line) ?? []
    expect(Number(index), line).toBe(next.get(thread) ?? 0)
    expect(filling).toBe(thread.repeat(Number(index) % 700))
    next.set(thread, Number(index) + 1)
  }
  expect([...next.values()]).toEqual([1_500, 1_500, 1_500])
})

test.skipIf(process.platform !== 'linux')(
  'a line that a full disk has cut in two is ended before the next; whole ones count',
  () => {
    using temporary = folder()
    const path = temporary.path('access.log')
    // Node.js ignores SIGXFSZ: a file that is as long as it may be takes a part, then nothing.
    const program = `
      import { readFileSync, truncateSync } from 'node:fs'
      import { fileDestination } from '@cirque/access-log'
      const destination = fileDestination(${JSON.stringify(path)}, { flushIntervalMs: 0 })
      for (const letter of 'abc') destination.write(letter.repeat(499))
      while (destination.stats().waitingBytes > 0) await new Promise((resolve) => setImmediate(resolve))
      const { writtenCount, droppedCount } = destination.stats()
      truncateSync(${JSON.stringify(path)}, 510)
      destination.write('next')
      await destination.close()
      const text = readFileSync(${JSON.stringify(path)}, 'latin1')
      console.log(JSON.stringify([writtenCount, droppedCount, text.slice(500)]))`
    const command = ['ulimit -f 1; exec "$@"', 'sh', process.execPath, '--conditions=@cirque/source']
    const said = execFileSync('bash', ['-c', ...command, '--input-type=module', '-e', program], {
      cwd: import.meta.dirname,
    })
    expect(JSON.parse(String(said))).toEqual([2, 1, `${'b'.repeat(10)}\nnext\n`])
  },
)

test('a wrong path or option is refused at construction', () => {
  expect(() => fileDestination('/does/not/exist/log')).toThrow('ENOENT')
  expect(() => fileDestination(-1)).toThrow(RangeError)
  expect(() => fileDestination('x', { buffer: 1 } as never)).toThrow(TypeError)
  expect(() => fileDestination('x', { bufferBytesMax: 1 })).toThrow(RangeError)
})
