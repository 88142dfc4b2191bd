import { randomBytes } from 'node:crypto'
import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin, StickySessions, TcpHealthCheck } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { parseOptions, USAGE } from './options.ts'
import { StickyProxy } from './sticky-proxy.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const upstreams = LoadBalancer.fromAddresses(options.peerAddresses, roundRobin(), { name: 'upstreams' })
    upstreams.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })
    // Several proxies, or one that restarts, need the same secret to read each other's cookies.
    const sticky = new StickySessions({ secrets: [process.env['STICKY_SECRET'] ?? randomBytes(32)] })

    const proxy = httpProxyService(server.configuration, new StickyProxy(upstreams, sticky), {
      name: 'sticky',
    })
    proxy.addListener({ address: options.bindAddress })
    const checks = server.addService(upstreams.backgroundService())
    server.addService(proxy).addDependency(checks)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`sticky: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
