import { join } from 'node:path'
import { Child, isInstalled } from './child.ts'
import type { BenchOptions, Mode } from './options.ts'

/** What a load generator saw. */
export interface LoadResult {
  /** Responses that came back whole. */
  requests: number
  /** All bytes received, those of unfinished responses too. */
  bytes: number
  seconds: number
  p50Micros: number
  p99Micros: number
  /** Failed connections, reads and writes, timeouts, and every status but 200. */
  errors: number
}

const EXTRA_TIME_MS = 15_000

/** The generator in use: wrk counts whole seconds only and is not everywhere. */
export function generatorName(options: BenchOptions): 'wrk' | 'builtin' {
  return options.tools === 'auto' && options.seconds >= 1 && isInstalled('wrk') ? 'wrk' : 'builtin'
}

/** Puts load on a proxy for `seconds`. */
export async function generateLoad(
  options: BenchOptions,
  target: { port: number; path: string; connections: number; mode: Mode; seconds: number },
): Promise<LoadResult> {
  const { port, path, connections, mode, seconds } = target
  const timeoutMs = seconds * 1_000 + EXTRA_TIME_MS
  if (generatorName(options) === 'builtin') {
    const script = join(import.meta.dirname, 'children/generator.ts')
    const args = [port, path, connections, mode, seconds].map(String)
    const child = new Child('load generator', [process.execPath, script, ...args], { core: options.cores[0] })
    return JSON.parse(await child.result(timeoutMs)) as LoadResult
  }
  const command = [
    'wrk',
    '--threads=1',
    `--connections=${connections}`,
    `--duration=${Math.ceil(seconds)}s`,
    '--timeout=10s',
    `--script=${join(import.meta.dirname, 'children/wrk-report.lua')}`,
    ...(mode === 'close' ? ['--header=Connection: close'] : []),
    `http://127.0.0.1:${port}${path}`,
  ]
  return parseWrk(await new Child('wrk', command, { core: options.cores[0] }).result(timeoutMs))
}

/** Finds the line that `wrk-report.lua` writes among wrk's own. */
export function parseWrk(output: string): LoadResult {
  const json = /^JSON (\{.*\})$/m.exec(output)?.[1]
  if (json === undefined) throw new Error(`wrk did not report: ${output}`)
  return JSON.parse(json) as LoadResult
}
