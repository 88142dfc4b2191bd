import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Measurements } from '../src/measure.ts'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const gatekeeper = fileURLToPath(new URL('../../examples/gatekeeper/src/main.ts', import.meta.url))

/** Runs the harness as a user would. Figures are not looked at: this machine may be busy. */
async function smoke(
  proxies: string,
): Promise<{ status: number | null; text: string; json: Measurements | undefined }> {
  const directory = await mkdtemp(join(tmpdir(), 'cirque-smoke-'))
  try {
    const output = join(directory, 'result.json')
    const child = spawn(process.execPath, [main, '--smoke', '--proxies', proxies, '--output', output])
    let text = ''
    child.stdout.on('data', (chunk) => (text += String(chunk)))
    child.stderr.on('data', (chunk) => (text += String(chunk)))
    await once(child, 'close')
    const json = existsSync(output) ? (JSON.parse(await readFile(output, 'utf8')) as Measurements) : undefined
    return { status: child.exitCode, text, json }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function check(json: Measurements | undefined, proxy: string): void {
  expect(json?.skipped).toEqual({})
  expect(json?.origin).toBe('node:http')
  expect(json?.cases).toHaveLength(4)
  for (const { samples } of json?.cases ?? []) {
    expect(samples).toHaveLength(1)
    expect(samples[0]).toMatchObject({ proxy, round: 0, errors: 0 })
    expect(samples[0]?.requestsPerSecond).toBeGreaterThan(0)
    if (process.platform === 'linux') expect(samples[0]?.cpuMicrosPerRequest).toBeGreaterThan(0)
  }
  expect(json?.idle).toMatchObject([{ proxy, connections: 20 }])
}

test('the harness measures a proxy from npm', { timeout: 60_000 }, async () => {
  const { status, text, json } = await smoke('http-proxy')
  expect(status, text).toBe(0)
  check(json, 'http-proxy')
  expect(text).toContain('13 B body, 4 connections, keep-alive')
})

// Read at collection: until the example is there, there is nothing to start.
if (existsSync(gatekeeper)) {
  test('the harness measures our own proxy', { timeout: 60_000 }, async () => {
    const { status, text, json } = await smoke('cirque')
    expect(status, text).toBe(0)
    check(json, 'cirque')
  })
}

test('a wrong flag ends with one line and a status', { timeout: 60_000 }, async () => {
  const { status, text, json } = await smoke('apache')
  expect(status).toBe(1)
  expect(text).toMatch(/^bench: --proxies knows .*, not "apache"\n$/)
  expect(json).toBeUndefined()
})
