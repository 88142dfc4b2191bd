// An origin for machines without nginx: node node-origin.ts PORT HTTP2_PORT SIZE...  Each size is served at its own path.
import { createServer, type RequestListener } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { UPLOAD_PATH } from '../cases.ts'

const [port, http2Port, ...sizes] = process.argv.slice(2).map(Number)
const bodies = new Map(sizes.map((size) => [`/${size}`, Buffer.alloc(size, 'x')]))

const serve: RequestListener = (request, response) => {
  const body = bodies.get(request.url === UPLOAD_PATH ? '/13' : (request.url ?? ''))
  if (body === undefined) response.writeHead(404, { 'Content-Length': 0 }).end()
  else {
    const answer = () =>
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length }).end(body)
    if (request.method === 'POST') request.on('end', answer).resume()
    else answer()
  }
}
createServer({ keepAliveTimeout: 75_000 }, serve).listen(port, '127.0.0.1', 4096)
createHttp2Server(serve as never).listen(http2Port, '127.0.0.1', 4096)
