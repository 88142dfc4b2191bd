import { join } from 'node:path'
import { isHttp2, setupOf } from './cases.ts'
import { Child, isInstalled } from './child.ts'
import { generateHttp2Load } from './h2load.ts'
import type { LoadResult, LoadTarget } from './load-target.ts'
import type { BenchOptions } from './options.ts'

const EXTRA_TIME_MS = 15_000

/** The generator in use: wrk counts whole seconds only and is not everywhere. */
export function generatorName(options: BenchOptions): 'wrk' | 'builtin' {
  return options.tools === 'auto' && options.seconds >= 1 && isInstalled('wrk') ? 'wrk' : 'builtin'
}

/** Puts load on a proxy for `seconds`. */
export async function generateLoad(options: BenchOptions, target: LoadTarget): Promise<LoadResult> {
  const { port, path, connections, mode, seconds, uploadBytes, protocol = 'h1' } = target
  const timeoutMs = seconds * 1_000 + EXTRA_TIME_MS
  if (isHttp2(protocol)) return generateHttp2Load(options, target, timeoutMs)
  const { tls } = setupOf({ protocol, threads: 1 })
  // With new TLS connections wrk resumes sessions by itself, sometimes.
  if (generatorName(options) === 'builtin' || (tls && (mode === 'close' || mode === 'resume'))) {
    const script = join(import.meta.dirname, 'children/generator.ts')
    const args = [port, path, connections, mode, seconds, uploadBytes, ...(tls ? [options.groups] : [])].map(
      String,
    )
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
    `${tls ? 'https' : 'http'}://localhost:${port}${path}`,
    ...(uploadBytes > 0 ? ['--', String(uploadBytes)] : []),
  ]
  return parseWrk(await new Child('wrk', command, { core: options.cores[0] }).result(timeoutMs))
}

/** Finds the line that `wrk-report.lua` writes among wrk's own. */
export function parseWrk(output: string): LoadResult {
  const json = /^JSON (\{.*\})$/m.exec(output)?.[1]
  if (json === undefined) throw new Error(`wrk did not report: ${output}`)
  return JSON.parse(json) as LoadResult
}
