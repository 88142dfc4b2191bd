// A gRPC server with one unary method, whatever it is called: node grpc-origin.ts PORT
// It answers a message with its own, as the protocol frames it, and with the status in trailers. Anything but POST gets
// an ordinary answer, which tells that it serves.
import { createServer, type ServerHttp2Stream } from 'node:http2'

const MESSAGE = Buffer.from('\0\0\0\0\rHello, world!', 'latin1')

const server = createServer()
server.on('stream', (stream: ServerHttp2Stream, headers) => {
  stream.on('error', () => {})
  if (headers[':method'] !== 'POST') {
    stream.respond({ ':status': 200, 'content-length': 13 })
    stream.end(MESSAGE.subarray(5))
    return
  }
  stream.resume()
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(MESSAGE)
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1', 4096)
