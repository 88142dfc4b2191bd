import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { cutConnection } from '@cirque/core'
import { CERTIFICATE } from './certificate.ts'

/** An origin. Disposal cuts its connections. */
export interface Upstream extends AsyncDisposable {
  readonly address: string
  readonly port: number
  /** Connections accepted so far, and those still open. */
  readonly connections: { accepted: number; open: number }
  /** Cuts every connection; `reset` sends RST. */
  cut(reset?: boolean): void
  /** Stops listening and cuts: later connects are refused. */
  stop(): Promise<void>
}

/** An origin on node:http. */
export interface HttpUpstream extends Upstream {
  readonly server: Server
  /** Heads of all requests, in order of arrival. */
  readonly requests: IncomingMessage[]
}

/** Starts an origin on node:http. */
export async function startUpstream(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<HttpUpstream> {
  const requests: IncomingMessage[] = []
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    requests.push(request)
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    handler(request, response)
  })
  const upstream = await listening(server)
  return { ...upstream, server, requests }
}

/** Starts an origin that is nothing but sockets; over TLS if it is told what to agree on. */
export function startRawUpstream(
  onSocket: (socket: Socket, index: number) => void,
  alpn?: readonly string[],
): Promise<Upstream> {
  let count = 0
  if (alpn === undefined) {
    return listening(createServer({ allowHalfOpen: true }, (socket) => onSocket(socket, count++)))
  }
  const options = { ...CERTIFICATE, ALPNProtocols: [...alpn], allowHalfOpen: true }
  const server = createTlsServer(options, (socket) => {
    socket.on('error', () => undefined)
    onSocket(socket, count++)
  })
  return listening(server.on('tlsClientError', () => undefined))
}

/** An origin that answers each connection's requests with the given bytes, one after another. */
export function startScript(...answers: readonly string[]): Promise<Upstream> {
  let next = 0
  return startRawUpstream((socket) => {
    let seen = ''
    socket.on('data', (data) => {
      seen += data.toString('latin1')
      while (seen.includes('\r\n\r\n')) {
        seen = seen.slice(seen.indexOf('\r\n\r\n') + 4)
        socket.write(answers[Math.min(next++, answers.length - 1)] as string, 'latin1')
      }
    })
    socket.on('end', () => socket.end())
  })
}

async function listening(server: NetServer): Promise<Upstream> {
  const sockets = new Set<Socket>()
  const connections = { accepted: 0, open: 0 }
  server.on('connection', (socket: Socket) => {
    connections.accepted++
    connections.open++
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => {
      connections.open--
      sockets.delete(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cut = (reset = false) => {
    for (const socket of sockets) {
      if (reset) cutConnection(socket)
      else socket.destroy()
    }
  }
  const stop = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    cut()
    await closed
  }
  return { address: `127.0.0.1:${port}`, port, connections, cut, stop, [Symbol.asyncDispose]: stop }
}

// A port that was free a moment ago may be the next listener's, even the proxy's own; these are nobody's.
const UNASSIGNED_PORTS = [2, 3, 4, 6, 8, 10, 12, 14, 16]
let dead = 0

/** An address at which nobody listens; nine in a row differ. */
export async function deadAddress(): Promise<string> {
  return `127.0.0.1:${UNASSIGNED_PORTS[dead++ % UNASSIGNED_PORTS.length]}`
}
