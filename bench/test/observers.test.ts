import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isInstalled } from '../src/child.ts'

const main = fileURLToPath(new URL('../src/observers.ts', import.meta.url))

async function run(...args: string[]): Promise<{ status: number | null; text: string }> {
  const child = spawn(process.execPath, [main, ...args])
  try {
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        text += String(chunk)
      })
    }
    await once(child, 'close', { signal: AbortSignal.timeout(50_000) })
    return { status: child.exitCode, text }
  } finally {
    child.kill()
  }
}

// Figures are not looked at: this machine may be busy.
test.skipIf(!isInstalled('h2load'))(
  'the bench of observers measures each beside a proxy that nobody watches (needs h2load)',
  { timeout: 60_000 },
  async () => {
    const small = ['--generations', '1', '--rounds', '1', '--requests', '200', '--cores', 'none']
    const { status, text } = await run('--from-source', '--observers', 'log-and-metrics', ...small)
    expect(status, text).toBe(0)
    expect(text).toMatch(/^none +[\d.]+ +0\.0 %/m)
    expect(text).toMatch(/^log-and-metrics +[\d.]+ +-?[\d.]+ %/m)
  },
)

test('a wrong flag ends with one line and a status', { timeout: 60_000 }, async () => {
  const { status, text } = await run('--rounds', 'many')
  expect(status).toBe(1)
  expect(text).toBe('bench: --rounds takes a whole number from 1 on, not "many"\n')
})
