// A proxy in a process of its own, for the attacks that are measured. Its arguments are the
// addresses of a fair origin and of one that does harm, which would else keep each other busy.
import { HttpPeer, silentLogger } from '@cirque/core'
import { startProxy } from '../../support/proxy.ts'

/** What the process tells of itself. */
export interface Usage {
  /** Bytes that are in use after a collection, JavaScript's and those of buffers. */
  readonly bytes: number
  readonly active: number
  readonly connections: number
  readonly upstreams: number
}

const [, , fair, evil] = process.argv as [string, string, string, string]
const PEER = { readTimeoutMs: 1_200, writeTimeoutMs: 1_200, tunnelIdleTimeoutMs: 1_200 } as const
// Short enough to see the end of each, long enough not to end it before the measurement.
const proxy = await startProxy(
  {
    upstreamPeer: (session) =>
      session.request.path === '/fair' ? new HttpPeer(fair) : new HttpPeer(evil, PEER),
  },
  {
    // A log that is kept would look like a leak: floods fail by the ten thousand.
    logger: silentLogger,
    server: {
      h2c: true,
      headTimeoutMs: 1_200,
      idleTimeoutMs: 1_200,
      bodyTimeoutMs: 1_200,
      writeTimeoutMs: 1_200,
      lingerTimeoutMs: 300,
    },
  },
)

process.on('disconnect', () => process.exit())
process.on('message', () => {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  const usage: Usage = {
    bytes: heapUsed + external,
    active: proxy.proxy.stats().active,
    connections: proxy.proxy.serverApp.stats().connections,
    upstreams: proxy.proxy.connector.stats().open - proxy.proxy.connector.stats().idle,
  }
  process.send?.(usage)
})
process.send?.(proxy.port)
