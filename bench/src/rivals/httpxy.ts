// httpxy, the maintained successor of http-proxy.
import { Agent, createServer } from 'node:http'
import { createProxyServer } from 'httpxy'

const [port, origin] = process.argv.slice(2)
const proxy = createProxyServer({
  target: `http://127.0.0.1:${origin}`,
  agent: new Agent({ keepAlive: true, maxFreeSockets: 1024 }),
})
const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
  proxy.web(request, response).catch(() => response.destroy())
})
server.listen(Number(port), '127.0.0.1', 4096)
