// What the gateway stands in front of: well-behaved, slow and broken upstreams. Prints its ports as JSON.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { WebSocketServer } from 'ws'

/** Where everything listens, on 127.0.0.1. */
export interface OriginPorts {
  readonly http: number
  /** HTTP/2 over cleartext. */
  readonly http2: number
  /** Accepts, and resets within a response. */
  readonly broken: number
  /** Nobody listens there. */
  readonly dead: number
  readonly tcp: number
  readonly udp: number
}

const TEXT = Buffer.from('The quick brown fox jumps over the lazy dog. '.repeat(400))

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://origin')
  response.on('error', () => {})
  switch (pathname) {
    case '/echo': {
      response.writeHead(200, { trailer: 'x-bytes' })
      let bytes = 0
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        response.write(chunk)
      })
      request.on('end', () => {
        response.addTrailers({ 'x-bytes': String(bytes) })
        response.end()
      })
      return
    }
    case '/early': // before the body was read
      response.writeHead(403, { 'content-length': 0 }).end()
      return
    case '/download':
      response.writeHead(200, { 'content-length': searchParams.get('bytes') ?? '0' })
      response.end(Buffer.alloc(Number(searchParams.get('bytes')), 'x'))
      return
    case '/text':
      response.writeHead(200, { 'content-type': 'text/plain' }).end(TEXT)
      return
    case '/hang':
      return
    case '/slow':
      setTimeout(() => response.end('slow'), 200).unref()
      return
    case '/hints':
      response.writeEarlyHints({ link: '</a.css>; rel=preload' })
      response.end('hints')
      return
    default:
      response.end(`hello ${pathname}`)
  }
}

const http = createHttp(answer)
http.keepAliveTimeout = 20_000
const sockets = new WebSocketServer({ server: http })
sockets.on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
})

const http2 = createHttp2()
http2.on('stream', (stream: ServerHttp2Stream, headers) => {
  stream.on('error', () => {})
  if (String(headers['content-type']).startsWith('application/grpc')) {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  } else {
    stream.respond({ ':status': 200 })
  }
  stream.pipe(stream)
})
http2.on('sessionError', () => {})

const broken = createTcp((socket) => {
  socket.on('error', () => {})
  socket.once('data', (data) => {
    const kind = /^\w+ \/(\w+)/.exec(data.toString('latin1'))?.[1]
    if (kind === 'reset') socket.resetAndDestroy()
    else if (kind === 'garbage') socket.end('HTP/1.1 200 OK\r\n\r\n')
    else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort')
  })
})

const tcp = createTcp({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {})
  socket.pipe(socket)
})

const udp = createSocket('udp4')
udp.on('message', (message, { port, address }) => udp.send(message, port, address))
udp.bind(0, '127.0.0.1')
await once(udp, 'listening')

const ports: OriginPorts = {
  http: await listen(http),
  http2: await listen(http2),
  broken: await listen(broken),
  // In an hour anybody could be given a port that was only found to be free; this one needs a privilege.
  dead: 1,
  tcp: await listen(tcp),
  udp: udp.address().port,
}
process.stdout.write(`${JSON.stringify(ports)}\n`)
