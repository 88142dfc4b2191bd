import { join } from 'node:path'
import { Child, isInstalled } from './child.ts'
import { freePort, untilListening } from './network.ts'
import type { BenchOptions } from './options.ts'
import { exampleCommand, exampleMissing, haproxyCommand } from './proxies.ts'
import { readUsage, resetPeak } from './usage.ts'

/** Bytes through a TCP proxy on one connection, one way, in one round. */
export interface RelaySample {
  proxy: string
  round: number
  /** `down`: from the origin to the client. */
  direction: 'down' | 'up'
  cpuMicrosPerMebibyte: number | undefined
  mebibytesPerSecond: number
  residentBytes: number | undefined
  peakBytes: number | undefined
}

interface Relay {
  name: string
  missing(fromSource: boolean): string | undefined
  command(port: number, originPort: number, directory: string, fromSource: boolean): Promise<string[]>
}

const RELAYS: readonly Relay[] = [
  {
    name: 'cirque',
    missing: (fromSource) => exampleMissing('tcp-proxy', fromSource),
    async command(port, originPort, _directory, fromSource) {
      const addresses = ['--ba', `127.0.0.1:${port}`, '--pa', `127.0.0.1:${originPort}`]
      return [...exampleCommand('tcp-proxy', fromSource), ...addresses]
    },
  },
  {
    name: 'haproxy',
    missing: () => (isInstalled('haproxy') ? undefined : 'haproxy is not installed'),
    command: (port, originPort, directory) =>
      haproxyCommand(
        directory,
        `defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen relay
  bind 127.0.0.1:${port}
  server origin 127.0.0.1:${originPort}
`,
      ),
  },
]

const MEBI: number = 1024 * 1024
const MOVE_TIMEOUT_MS = 60_000

/** Measures those TCP proxies that are among the contenders, one after the other in each round. */
export async function measureRelay(
  options: BenchOptions,
  directory: string,
  skip: (name: string, reason: string) => void,
): Promise<RelaySample[]> {
  const [loadCore, proxyCore] = options.cores
  const samples: RelaySample[] = []
  const running: { name: string; port: number; child: Child }[] = []
  const originPort = await freePort()
  const script = (file: string): string[] => [process.execPath, join(import.meta.dirname, 'children', file)]
  const origin = new Child('stream origin', [...script('stream-origin.ts'), String(originPort)], {
    core: loadCore,
  })
  const move = async (port: number, verb: 'GET' | 'PUT', bytes: number): Promise<number> => {
    const command = [...script('stream-client.ts'), String(port), verb, String(bytes)]
    return Number(await new Child('stream client', command, { core: loadCore }).result(MOVE_TIMEOUT_MS))
  }
  try {
    await untilListening(origin, originPort)
    for (const { name, missing, command } of RELAYS) {
      if (!options.proxies.includes(name)) continue
      const reason = missing(options.fromSource)
      if (reason !== undefined) {
        skip(`${name} (relay)`, reason)
        continue
      }
      const port = await freePort()
      const line = await command(port, originPort, join(directory, `${name}-relay`), options.fromSource)
      const child = new Child(name, line, { core: proxyCore })
      running.push({ name, port, child })
      await untilListening(child, port)
      for (const verb of ['GET', 'PUT'] as const) await move(port, verb, options.relayBytes / 8)
    }
    for (let round = 0; round < options.rounds; round += 1) {
      const first = round % Math.max(1, running.length)
      for (const { name, port, child } of [...running.slice(first), ...running.slice(0, first)]) {
        for (const verb of ['GET', 'PUT'] as const) {
          resetPeak(child.pid)
          const before = readUsage(child.pid).cpuMicros
          const seconds = await move(port, verb, options.relayBytes)
          const { cpuMicros: after, residentBytes, peakBytes } = readUsage(child.pid)
          const mebibytes = options.relayBytes / MEBI
          samples.push({
            proxy: name,
            round,
            direction: verb === 'GET' ? 'down' : 'up',
            cpuMicrosPerMebibyte:
              before === undefined || after === undefined ? undefined : (after - before) / mebibytes,
            mebibytesPerSecond: mebibytes / seconds,
            residentBytes,
            peakBytes,
          })
        }
      }
    }
    return samples
  } finally {
    await Promise.all([origin, ...running.map(({ child }) => child)].map((child) => child.stop()))
  }
}
