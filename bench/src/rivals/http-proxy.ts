// http-proxy as its README shows it, with the keep-alive agent that every guide to its speed adds.
import { Agent, createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'

interface HttpProxy {
  createProxyServer(options: { target: string; agent: Agent }): {
    web(request: unknown, response: unknown): void
    on(event: 'error', listener: () => void): void
  }
}
const httpProxy = createRequire(import.meta.url)('http-proxy') as HttpProxy

const [port, origin] = process.argv.slice(2)
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${origin}`,
  agent: new Agent({ keepAlive: true, maxFreeSockets: 1024 }),
})
// Without it the first upstream error would end the process.
proxy.on('error', () => {})
const server: Server = createServer({ keepAliveTimeout: 75_000 }, (request, response) =>
  proxy.web(request, response),
)
server.listen(Number(port), '127.0.0.1', 4096)
