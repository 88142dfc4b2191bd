import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { readInputs, show, writeInputs } from '../src/corpus.ts'
import { instrument } from '../src/instrument.ts'
import { minimize } from '../src/minimize.ts'
import { mutate } from '../src/mutate.ts'
import { Random } from '../src/random.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a program of Node.js from the sources; what it wrote, and how it ended. */
async function program(
  ...args: string[]
): Promise<{ code: number | null; signal: string | null; output: string }> {
  const flags = ['--conditions=@cirque/source', '--disable-warning=ExperimentalWarning']
  const child = spawn(process.execPath, [...flags, ...args], { cwd: root })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  return await new Promise((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal, output })),
  )
}

/** Fuzzes `packages/`-like code that is planted in front of the engine. */
const PLANTED = fileURLToPath(new URL('./programs/planted.ts', import.meta.url))

test('coverage leads to a defect behind five bytes that must all be right, and it is made small', async () => {
  const { code, output } = await program(PLANTED, 'defect')
  expect(output).toContain('found "fuzz!"')
  expect(code).toBe(0)
})

test('an endless loop ends the process, and its input is kept', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  try {
    const file = join(folder, 'hang.jsonl')
    const { signal, output } = await program(PLANTED, 'hang', file)
    expect(signal).toBe('SIGKILL')
    expect(output).toContain('for more than 1 s')
    expect(readInputs(file)[0]?.includes('x')).toBe(true)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the bounded run over all targets finds nothing', async () => {
  const { code, output } = await program('fuzz/src/main.ts', '--seconds', '4', '--seed', '1')
  expect(output).not.toMatch(/[1-9]\d* findings|fails on/)
  expect(code, output).toBe(0)
})

test('the command line names what it does not know', async () => {
  const { code, output } = await program('fuzz/src/main.ts', '--target', 'haed')
  expect(code).toBe(2)
  expect(output).toMatch(/^Unknown target "haed"; known are head, /)
})

test('instrumented code does what it did, and counts where it went', () => {
  const source = `export function f(a: number): string {
    for (let i = 0; i < 2; i++) if (a === i) return 'for' + i
    if (a > 10) { a -= 1 } else if (a < 0) throw new RangeError('below')
    const g = (x: number) => ({ x })
    switch (a) { case 5: case 6: return 'switch'; default: }
    while (a > 100) a -= 100
    do a++; while (a % 2)
    return a > 50 && g(a).x ? \`\${a ?? 1}\` : (a || 2) + 'c'
  }`
  const { code, counters, literals } = instrument(source, 7)
  const make = (text: string): ((a: number) => string) =>
    new Function(`${text.replace('export ', '')}; return f`)() as (a: number) => string
  globalThis.__fuzzHits = new Uint32Array(7 + counters)
  const plain = make(instrument(source, 0).code.replaceAll(/\$hits\[\d+\]\+\+/g, '0'))
  const counted = make(code)
  for (const value of [0, 1, 5, 6, 7, 60, 1234]) expect(counted(value)).toBe(plain(value))
  expect(() => counted(-1)).toThrow(RangeError)
  expect([...globalThis.__fuzzHits.subarray(0, 7)]).toEqual([0, 0, 0, 0, 0, 0, 0])
  expect(globalThis.__fuzzHits.subarray(7).filter((hits) => hits > 0).length).toBeGreaterThan(12)
  expect(literals).toEqual(expect.arrayContaining(['for', 'below', 'switch', 'c']))
  expect(code.split('\n').length).toBe(source.split('\n').length)
})

test('minimize keeps what matters only, and stops at its bound', async () => {
  const input = Buffer.from(`${'x'.repeat(500)}needle${'y'.repeat(500)}`)
  let calls = 0
  const holds = (candidate: Buffer): boolean => {
    calls += 1
    return candidate.includes('needle')
  }
  expect((await minimize(input, holds)).toString()).toBe('needle')
  calls = 0
  await minimize(input, holds, 10)
  expect(calls).toBeLessThanOrEqual(10)
})

test('the same seed gives the same inputs, none above the bound', () => {
  const made = [1, 1, 2].map((seed) => {
    const random = new Random(seed)
    const material = {
      dictionary: [Buffer.from('word')],
      other: () => Buffer.from('other input'),
      bytesMax: 64,
    }
    let input: Buffer = Buffer.from('GET / HTTP/1.1\r\n')
    return Array.from({ length: 500 }, () => {
      input = mutate(input, random, material)
      expect(input.length).toBeLessThanOrEqual(64)
      return input.toString('hex')
    })
  })
  expect(made[0]).toEqual(made[1])
  expect(made[0]).not.toEqual(made[2])
})

test('a corpus holds every byte, in plain ASCII', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  try {
    const file = join(folder, 'a.jsonl')
    const inputs: Buffer[] = [
      Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      Buffer.from('a'),
      Buffer.alloc(0),
    ]
    writeInputs(file, inputs)
    expect(readInputs(file)).toEqual([inputs[2], inputs[1], inputs[0]])
    expect(readFileSync(file, 'latin1')).toMatch(/^[\n\x20-\x7e]+$/)
    expect(show(Buffer.of(0xff, 0x0d))).toBe('"\\u00ff\\r"')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
