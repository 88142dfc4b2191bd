import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { STREAMS_PER_CONNECTION } from './cases.ts'
import { Child, isInstalled } from './child.ts'
import type { LoadResult, LoadTarget } from './load-target.ts'
import type { BenchOptions } from './options.ts'
import { Histogram } from './statistics.ts'

/** The load generator for HTTP/2; there is none of our own. */
export function http2GeneratorMissing(): string | undefined {
  return isInstalled('h2load') ? undefined : 'h2load is not installed'
}

/** Puts HTTP/2 load on a proxy, over TLS: requests without a body or with one, or gRPC calls with one message each. */
export async function generateHttp2Load(
  options: BenchOptions,
  { port, path, connections, seconds, uploadBytes, protocol }: LoadTarget,
  timeoutMs: number,
): Promise<LoadResult> {
  const streams = Math.min(connections, STREAMS_PER_CONNECTION)
  const directory = await mkdtemp(join(tmpdir(), 'cirque-h2load-'))
  try {
    const log = join(directory, 'requests.log')
    const message = join(directory, 'message')
    if (protocol === 'grpc') await writeFile(message, '\0\0\0\0\rHello, world!', 'latin1')
    else await writeFile(message, Buffer.alloc(uploadBytes, 'x'))
    const grpc = [`--data=${message}`, '--header=content-type: application/grpc', '--header=te: trailers']
    const command = [
      'h2load',
      '--threads=1',
      `--clients=${Math.ceil(connections / streams)}`,
      `--max-concurrent-streams=${streams}`,
      `--duration=${Math.ceil(seconds)}`,
      `--log-file=${log}`,
      ...(protocol === 'grpc' ? grpc : uploadBytes > 0 ? [`--data=${message}`] : []),
      `https://localhost:${port}${path}`,
    ]
    const output = await new Child('h2load', command, { core: options.cores[0] }).result(timeoutMs)
    return parseH2load(output, await readFile(log, 'utf8'))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Reads what h2load prints, and its log of requests: when each began, its status, and its microseconds. */
export function parseH2load(output: string, log: string): LoadResult {
  const number = (pattern: RegExp): number => {
    const found = pattern.exec(output)?.[1]
    if (found === undefined) throw new Error(`h2load did not report: ${output}`)
    return Number(found)
  }
  const latencies = new Histogram()
  for (const line of log.split('\n')) {
    const micros = line.split('\t')[2]
    if (micros !== undefined) latencies.add(Number(micros))
  }
  const requests = number(/(\d+) succeeded/)
  const seconds = number(/finished in ([\d.]+)s/)
  const failed = number(/(\d+) failed/)
  const notOk = number(/(\d+) 3xx/) + number(/(\d+) 4xx/) + number(/(\d+) 5xx/)
  return {
    requests,
    bytes: number(/traffic: \S+ \((\d+)\) total/),
    seconds,
    p50Micros: latencies.percentile(0.5),
    p99Micros: latencies.percentile(0.99),
    errors: failed + notOk,
  }
}
