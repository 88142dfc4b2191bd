import { Server, type TcpAddress } from '@cirque/core'
import { LoadBalancer, roundRobin, TcpHealthCheck } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { Balancer } from './balancer.ts'
import { demoAuthority, demoUpstreams } from './demo-upstreams.ts'
import { parseOptions, type QuickStartOptions, USAGE } from './options.ts'

function balance({ bindAddress, upstreams: given, host, setHost, server: argv }: QuickStartOptions): Server {
  const server = new Server({ argv })
  const demo = given.length > 0 ? [] : demoUpstreams()
  const upstreams =
    demo.length === 0
      ? LoadBalancer.fromAddresses(given, roundRobin())
      : new LoadBalancer(
          () => demo.map((service) => (service.endpoints()[0] as TcpAddress).text),
          roundRobin(),
        )
  upstreams.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })

  const ca = demo.length === 0 ? undefined : demoAuthority()
  const balancer = new Balancer({ upstreams, host, setHost, ca })
  const proxy = httpProxyService(server.configuration, balancer, { name: 'balancer' })
  proxy.addListener({ address: bindAddress })

  // The upstreams are known once the demo ones have their ports, and only then requests are taken.
  const discovery = server.addService(upstreams.backgroundService())
  for (const service of demo) discovery.addDependency(server.addService(service))
  server.addService(proxy).addDependency(discovery)
  return server
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else await balance(options).runForever()
} catch (error) {
  process.stderr.write(`quick-start: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
