// An origin for machines without nginx: node node-origin.ts PORT SIZE...  Each size is served at its own path.
import { createServer } from 'node:http'

const [port, ...sizes] = process.argv.slice(2).map(Number)
const bodies = new Map(sizes.map((size) => [`/${size}`, Buffer.alloc(size, 'x')]))

const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  const body = bodies.get(request.url ?? '')
  if (body === undefined) response.writeHead(404, { 'Content-Length': 0 }).end()
  else response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length }).end(body)
})
server.listen(port, '127.0.0.1', 4096)
