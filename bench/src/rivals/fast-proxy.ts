// fast-proxy under node:http, with its own keep-alive agent.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'

type FastProxy = (options: { base: string }) => {
  proxy(request: IncomingMessage, response: ServerResponse, source: string, options: object): void
}
const fastProxy = createRequire(import.meta.url)('fast-proxy') as FastProxy

const [port, origin] = process.argv.slice(2)
const { proxy } = fastProxy({ base: `http://127.0.0.1:${origin}` })
const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  proxy(request, response, request.url ?? '/', {})
})
server.listen(Number(port), '127.0.0.1', 4096)
