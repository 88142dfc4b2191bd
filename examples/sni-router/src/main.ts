import { Server } from '@cirque/core'
import { StreamPeer, sniRouter, tcpProxyService } from '@cirque/stream-proxy'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const routes = Object.fromEntries(
      options.routes.map(([name, address]) => [name, new StreamPeer(address)]),
    )
    const { fallback } = options
    const router = sniRouter(routes, fallback === undefined ? {} : { fallback: new StreamPeer(fallback) })
    const proxy = tcpProxyService(server.configuration, router, { name: 'SNI router' })
    proxy.addListener({ address: options.bindAddress })
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`sni-router: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
