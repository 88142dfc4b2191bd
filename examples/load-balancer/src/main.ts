import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin, TcpHealthCheck } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { Balancer } from './balancer.ts'
import { DemoUpstreams } from './demo-upstreams.ts'
import { type Options, parseOptions, USAGE } from './options.ts'

const DEMO_UPSTREAMS = 3

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function balance(options: Options): Server {
  const server = new Server({ argv: options.server })
  const given = options.upstreams
  const demo = given.length > 0 ? undefined : new DemoUpstreams(DEMO_UPSTREAMS, options.switchSeconds, say)
  const upstreams =
    demo === undefined
      ? LoadBalancer.fromAddresses(given, roundRobin())
      : new LoadBalancer(() => demo.addresses, roundRobin())
  upstreams.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })

  const balancer = new Balancer(upstreams, (address) => demo?.nameOf(address) ?? address, say)
  const proxy = httpProxyService(server.configuration, balancer, { name: 'load balancer' })
  proxy.addListener({ address: options.bindAddress })

  // The proxy waits for the upstreams to be known, and that waits for the demo ones to have their ports.
  const discovery = server.addService(upstreams.backgroundService())
  server.addService(proxy).addDependency(discovery)
  if (demo !== undefined) discovery.addDependency(server.addService(demo))
  server.onPhase((phase) => {
    if (phase !== 'running') return
    const addresses = upstreams.backends.map(({ address }) => address)
    announce(proxy.endpoints()[0]?.text ?? options.bindAddress, addresses)
  })
  return server
}

function announce(address: string, upstreams: readonly string[]): void {
  say(`
The load balancer listens on ${address} and goes round ${upstreams.length} upstreams: ${upstreams.join(', ')}

  curl http://${address}/                  one request
  for i in 1 2 3 4 5 6; do curl -s http://${address}/; done

Each request gets a line below. Ctrl-C ends it.
`)
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else await balance(options).runForever()
} catch (error) {
  process.stderr.write(`load-balancer: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
