// A proxy in a process of its own, for the attacks that are measured. Its arguments are the
// addresses of a fair origin and of one that does harm, which would else keep each other busy.
import { readdirSync } from 'node:fs'
import {
  createConfiguration,
  HttpPeer,
  responseCompression,
  silentLogger,
  type TcpAddress,
} from '@cirque/core'
import { Rate } from '@cirque/limits'
import { MemoryCache } from '@cirque/memory-cache'
import { httpProxyService } from '../../../src/index.ts'
import { CERTIFICATE_FILES } from '../../support/certificate.ts'
import { serviceContext } from '../../support/waiting.ts'

/** What the process tells of itself. */
export interface Usage {
  /** Bytes that are in use after a collection, JavaScript's and those of buffers. */
  readonly bytes: number
  /** Open files and sockets; -1 where the system does not tell. */
  readonly descriptors: number
  readonly active: number
  readonly connections: number
  readonly upstreams: number
}

const [, , fair, evil] = process.argv as [string, string, string, string]
const PEER = {
  readTimeoutMs: 1_200,
  writeTimeoutMs: 1_200,
  idleTimeoutMs: 1_200,
  tunnelIdleTimeoutMs: 1_200,
} as const
const rate = new Rate({ intervalMs: 1_000 })
const seen = new MemoryCache<string, number>({ entriesMax: 10_000 })
const compression = responseCompression({ decompress: 'always', outputBytesMax: 256 << 20 })
// Short enough to see the end of each, long enough not to end it before the measurement.
const service = httpProxyService(
  createConfiguration(),
  {
    initUpstreamModules: (modules) => void modules.add(compression),
    requestFilter(session) {
      const key = session.request.get('x-key')
      if (key === undefined) return
      rate.observe(key)
      seen.put(session.request.target, 1)
    },
    upstreamPeer: (session) =>
      session.request.path === '/fair' ? new HttpPeer(fair) : new HttpPeer(evil, PEER),
  },
  {
    // A log that is kept would look like a leak: floods fail by the ten thousand.
    logger: silentLogger,
    retryBackoffMs: 0,
    server: {
      h2c: true,
      headTimeoutMs: 1_200,
      idleTimeoutMs: 1_200,
      firstRequestTimeoutMs: 1_200,
      bodyTimeoutMs: 1_200,
      requestTimeoutMs: 4_000,
      writeTimeoutMs: 1_200,
      lingerTimeoutMs: 300,
    },
  },
)
service.addTcp('127.0.0.1:0')
// With two policies the name is read before the handshake begins.
const other = { ...CERTIFICATE_FILES, serverNames: ['other.example'], alpnProtocols: ['http/1.1'] }
service.addTls('127.0.0.1:0', { ...CERTIFICATE_FILES, certificates: [other], handshakeTimeoutMs: 1_200 })
await service.start(serviceContext(silentLogger))
const { proxy } = service

function descriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return -1
  }
}

process.on('disconnect', () => process.exit())
process.on('message', () => {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  const usage: Usage = {
    bytes: heapUsed + external,
    descriptors: descriptors(),
    active: proxy.stats().active,
    connections: proxy.serverApp.stats().connections,
    upstreams: proxy.connector.stats().open - proxy.connector.stats().idle,
  }
  process.send?.(usage)
})
process.send?.(service.endpoints().map((endpoint) => (endpoint as TcpAddress).port))
