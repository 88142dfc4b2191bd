import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin, TcpHealthCheck } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { parseOptions, USAGE } from './options.ts'
import { PathRouter } from './path-router.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const clusters = options.routes.map(([prefix, addresses]) => {
      const upstreams = LoadBalancer.fromAddresses(addresses, roundRobin(), { name: `cluster ${prefix}/` })
      upstreams.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })
      return { prefix, upstreams }
    })
    const proxy = httpProxyService(server.configuration, new PathRouter(clusters), { name: 'router' })
    proxy.addListener({ address: options.bindAddress })
    const router = server.addService(proxy)
    for (const { upstreams } of clusters) {
      router.addDependency(server.addService(upstreams.backgroundService()))
    }
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`multi-lb: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
