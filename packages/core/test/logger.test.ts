import { execFileSync, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type LogLevel, silentLogger, stderrLogger } from '../src/index.ts'
import { openFileLogger } from '../src/logger.ts'

let folder: string
let file: string
let fd: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-log-'))
  file = join(folder, 'log')
  fd = openSync(file, 'a')
})

afterEach(() => {
  closeSync(fd)
  rmSync(folder, { recursive: true })
})

async function lines(count: number): Promise<string[]> {
  return await vi.waitFor(() => {
    const all = readFileSync(file, 'utf8').split('\n').slice(0, -1)
    expect(all.length).toBeGreaterThanOrEqual(count)
    return all
  })
}

test('writes one line per entry with time, level, message and fields', async () => {
  const logger = stderrLogger({ fd })
  logger.info('Listening', { address: '127.0.0.1:80', tls: false, service: 'my proxy' })
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  logger.error('Failed', { error: new Error('Cannot connect', { cause }), list: [1, 2] })
  const [first, second] = await lines(2)
  expect(first).toMatch(
    /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO Listening address=127.0.0.1:80 tls=false service="my proxy"$/,
  )
  expect(second).toMatch(/ ERROR Failed error="Cannot connect: refused \(ECONNREFUSED\)" list="\[ 1, 2 \]"$/)
})

test('leaves out what is below its level', async () => {
  const logger = stderrLogger({ fd, level: 'warn' })
  logger.debug('a')
  logger.info('b')
  logger.warn('c')
  logger.error('d')
  expect((await lines(2)).map((line) => line.slice(-1))).toEqual(['c', 'd'])
  const silent = stderrLogger({ fd, level: 'silent' })
  silent.error('never')
  silentLogger.error('never')
  logger.error('e')
  expect(await lines(3)).toHaveLength(3)
})

test('nobody can forge a line or move the cursor through a message or a field', async () => {
  stderrLogger({ fd }).info('a\nb\u001b[2J\u2028\u202e', { 'k\n': 'v\r\n"x', other: '\u009b' })
  const [line] = await lines(1)
  expect(line).toContain(String.raw`a\u000ab\u001b[2J\u2028\u202e k\u000a="v\r\n\"x" other="\u009b"`)
})

test('never throws, whatever it is given, and keeps lines short', async () => {
  const hostile = {
    toString(): string {
      throw new Error('no')
    },
    get boom(): string {
      throw new Error('no')
    },
  }
  const logger = stderrLogger({ fd })
  logger.info(hostile as unknown as string)
  logger.info('x', { hostile })
  logger.info('x', hostile as unknown as Record<string, unknown>)
  logger.info('x'.repeat(1_000_000), { a: 'y'.repeat(1_000_000), s: Symbol('s'), n: 1n, u: undefined })
  const all = await lines(4)
  expect(all[2]).toContain('a field cannot be shown')
  for (const line of all) expect(line.length).toBeLessThan(10_000)
})

test('drops and counts lines beyond its buffer', async () => {
  const logger = stderrLogger({ fd, bufferBytesMax: 100 })
  for (let count = 0; count < 10; count += 1) logger.info('0123456789')
  const all = await lines(3)
  expect(all[2]).toMatch(/WARN Log lines were dropped count=8$/)
})

test('a reader that stops reading does not block the process', async () => {
  const script = `
    import { stderrLogger } from ${JSON.stringify(import.meta.resolve('../src/logger.ts'))}
    const logger = stderrLogger({ bufferBytesMax: 300_000 })
    for (let count = 0; count < 5000; count += 1) logger.info('x'.repeat(100))
    setImmediate(() => process.stdout.write('alive'))
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const output = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data) => resolve(String(data))),
  )
  expect(output).toBe('alive') // nobody has read stderr yet
  child.stderr.resume()
  expect(await exited).toBe(0)
})

test('writes what waits before the process ends', () => {
  const script = `
    import { stderrLogger } from ${JSON.stringify(import.meta.resolve('../src/logger.ts'))}
    const logger = stderrLogger()
    for (let count = 0; count < 1000; count += 1) logger.info('line')
  `
  const command = `${JSON.stringify(process.execPath)} --input-type=module -e "$SCRIPT" 2>&1 | wc -l`
  const output = execFileSync('sh', ['-c', command], { env: { ...process.env, SCRIPT: script } })
  expect(Number(String(output))).toBe(1000)
})

test('a file logger appends, is private, and drops entries after close', async () => {
  const path = join(folder, 'own.log')
  const logger = openFileLogger(path)
  logger.info('first')
  logger.close()
  logger.info('late')
  await vi.waitFor(() => expect(readFileSync(path, 'utf8')).toMatch(/first\n$/))
  expect(statSync(path).mode & 0o007).toBe(0)
})

test.each([
  [{ level: 'loud' as LogLevel }, TypeError],
  [{ bufferBytesMax: -1 }, RangeError],
  [{ fd: 1.5 }, RangeError],
])('refuses %j', (options, type) => {
  expect(() => stderrLogger(options)).toThrow(type)
})
