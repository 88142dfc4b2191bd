import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { Child } from './child.ts'

const START_TIMEOUT_MS = 15_000
const PROBE_TIMEOUT_MS = 10_000

/** A free port on loopback, below the range from which the kernel takes the ports of outgoing connections. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = 15_000 + Math.floor(Math.random() * 15_000)
    const server = createServer()
    const { promise, resolve } = Promise.withResolvers<boolean>()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    if (await promise) return port
  }
  throw new Error('No free port on 127.0.0.1 after 100 attempts')
}

/** A URL, in parts. */
export interface Target {
  port: number
  path: string
  tls: boolean
}

/**
 * What clients of the bench ask for in TLS: without it, those from OpenSSL 3.5 on would agree on the costlier
 * post-quantum key exchange with the proxies that have it, and with the others not.
 */
export const GROUP_DEFAULT = 'X25519'

/** Opens a connection to a proxy: in cleartext, or with TLS that offers some groups of key exchange. */
export function dial(port: number, groups: string | undefined, session?: Buffer): Socket | TLSSocket {
  const address = { port, host: '127.0.0.1' }
  if (groups === undefined) return connect(address)
  return connectTls({
    ...address,
    servername: 'localhost',
    rejectUnauthorized: false,
    ecdhCurve: groups,
    ALPNProtocols: ['http/1.1'],
    ...(session === undefined ? {} : { session }),
  })
}

/** What a single request brought back. */
export interface Probe {
  /** Version and cipher, if it came over TLS. */
  cipher: string | undefined
  status: number
  /** Head and body as they came, in bytes. */
  responseBytes: number
  bodyBytes: number
}

/** Sends one request on a connection of its own and reads the response to its end. */
export async function probe({ port, path, tls }: Target, keepAlive: boolean): Promise<Probe> {
  const { promise, resolve, reject } = Promise.withResolvers<Probe>()
  const socket = dial(port, tls ? GROUP_DEFAULT : undefined)
  const chunks: Buffer[] = []
  let length = 0
  socket.setTimeout(PROBE_TIMEOUT_MS, () => socket.destroy(new Error(`No response on port ${port}`)))
  socket.on('error', reject)
  socket.on('close', () =>
    reject(new Error(`Port ${port} closed the connection before the response was whole`)),
  )
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    length += chunk.length
    const start = Buffer.concat(chunks.length > 4 ? chunks.slice(0, 4) : chunks).toString('latin1')
    const headEnd = start.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const bodyBytes = Number(/\r\ncontent-length:\s*(\d+)/i.exec(start.slice(0, headEnd))?.[1])
    if (Number.isNaN(bodyBytes)) reject(new Error(`Port ${port} answers without Content-Length`))
    if (length < headEnd + 4 + bodyBytes) return
    const cipher = 'encrypted' in socket ? `${socket.getProtocol()} ${socket.getCipher().name}` : undefined
    resolve({ cipher, status: Number(start.slice(9, 12)), responseBytes: length, bodyBytes })
  })
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n${keepAlive ? '' : 'Connection: close\r\n'}\r\n`,
  )
  try {
    return await promise
  } finally {
    socket.destroy()
  }
}

/** Waits until a server answers 200, or says what it printed when it does not. */
export async function untilServing(child: Child, target: Target): Promise<void> {
  await untilTrue(child, async () => {
    const { status } = await probe(target, false)
    return status === 200 ? undefined : `status ${status}`
  })
}

/** Waits until somebody accepts connections on a port. */
export async function untilListening(child: Child, port: number): Promise<void> {
  await untilTrue(child, async () => {
    const socket = connect(port, '127.0.0.1')
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    socket.once('connect', () => resolve(undefined)).once('error', ({ message }) => resolve(message))
    const problem = await promise
    socket.destroy()
    return problem
  })
}

/** Tries until `attempt` finds no problem, the child has ended or the time is up. */
async function untilTrue(child: Child, attempt: () => Promise<string | undefined>): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS
  let last: string | undefined = ''
  while (child.running && performance.now() < deadline) {
    try {
      last = await attempt()
      if (last === undefined) return
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    await sleep(50)
  }
  await child.stop()
  throw new Error(`${child.name} does not serve (${last})\n${child.stderr || child.stdout}`.trim())
}
