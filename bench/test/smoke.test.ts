import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { http2GeneratorMissing } from '../src/h2load.ts'
import type { Measurements } from '../src/samples.ts'
import { processTree } from '../src/usage.ts'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const gatekeeper = fileURLToPath(new URL('../../examples/gatekeeper/src/main.ts', import.meta.url))

/** Runs the harness as a user would. Figures are not looked at: this machine may be busy. */
async function smoke(
  proxies: string,
  ...more: string[]
): Promise<{ status: number | null; text: string; json: Measurements | undefined }> {
  const directory = await mkdtemp(join(tmpdir(), 'cirque-smoke-'))
  const output = join(directory, 'result.json')
  const child = spawn(process.execPath, [main, '--smoke', '--proxies', proxies, '--output', output, ...more])
  try {
    let text = ''
    const collect = (chunk: Buffer): void => {
      text += String(chunk)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    await once(child, 'close', { signal: AbortSignal.timeout(50_000) })
    const json = existsSync(output) ? (JSON.parse(await readFile(output, 'utf8')) as Measurements) : undefined
    return { status: child.exitCode, text, json }
  } finally {
    child.kill()
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
  expect(text).toContain('HTTP/1, 13 B body, 4 connections, keep-alive')
})

// Read at collection: until the example is there, there is nothing to start.
if (existsSync(gatekeeper)) {
  test('the harness measures our own proxy', { timeout: 60_000 }, async () => {
    const { status, text, json } = await smoke('cirque')
    expect(status, text).toBe(0)
    check(json, 'cirque')
  })
}

if (existsSync(gatekeeper)) {
  test('the harness measures TLS, full and resumed handshakes, and the TCP proxy', {
    timeout: 60_000,
  }, async () => {
    const args = [
      '--protocols',
      'tls',
      '--modes',
      'close,resume',
      '--bodies',
      '13',
      '--idle',
      '0',
      '--relay',
      '1m',
    ]
    const { status, text, json } = await smoke('cirque', ...args)
    expect(status, text).toBe(0)
    expect(json?.skipped).toEqual({})
    expect(json?.cases.map(({ protocol, mode }) => [protocol, mode])).toEqual([
      ['tls', 'close'],
      ['tls', 'resume'],
    ])
    for (const { samples } of json?.cases ?? []) {
      expect(samples[0]?.requestsPerSecond).toBeGreaterThan(0)
      expect(samples[0]?.errors).toBe(0)
    }
    expect(json?.ciphers['cirque']).toMatch(/^TLSv1.3 TLS_/)
    expect(json?.relay.map(({ proxy, direction }) => [proxy, direction])).toEqual([
      ['cirque', 'down'],
      ['cirque', 'up'],
    ])
  })

  test.skipIf(http2GeneratorMissing() !== undefined)(
    'the harness measures HTTP/2 and gRPC where h2load is installed',
    { timeout: 60_000 },
    async () => {
      const { status, text, json } = await smoke(
        'cirque',
        '--protocols',
        'h2-h2,grpc',
        '--bodies',
        '13',
        '--idle',
        '0',
      )
      expect(status, text).toBe(0)
      expect(json?.cases.map(({ protocol }) => protocol)).toEqual(['h2-h2', 'grpc'])
      for (const { samples } of json?.cases ?? []) {
        expect(samples[0]?.errors).toBe(0)
        expect(samples[0]?.requestsPerSecond).toBeGreaterThan(0)
      }
    },
  )
}

test.skipIf(process.platform === 'win32')(
  'Ctrl-C ends everything it started',
  { timeout: 60_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cirque-smoke-'))
    const child = spawn(process.execPath, [main, '--smoke', '--seconds', '30', '--proxies', 'http-proxy'], {
      env: { ...process.env, TMPDIR: directory },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      // The first line comes before anything is started; then the origin and the proxy appear.
      await once(child.stdout, 'data')
      const deadline = performance.now() + 20_000
      while (processTree(child.pid ?? -1).length < 4 && performance.now() < deadline) await sleep(50)
      const tree = processTree(child.pid ?? -1).filter((pid) => pid !== child.pid)
      child.kill('SIGINT')
      await once(child, 'exit')
      expect(child.exitCode).toBe(130)
      for (const pid of tree) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
      expect(await readdir(directory)).toEqual([])
    } finally {
      child.kill('SIGKILL')
      await rm(directory, { recursive: true, force: true })
    }
  },
)

test('a wrong flag ends with one line and a status', { timeout: 60_000 }, async () => {
  const { status, text, json } = await smoke('apache')
  expect(status).toBe(1)
  expect(text).toMatch(/^bench: --proxies knows .*, not "apache"\n$/)
  expect(json).toBeUndefined()
})
