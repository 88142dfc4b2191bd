import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin, TcpHealthCheck } from '@cirque/load-balancing'
import { httpProxyService } from '@cirque/proxy'
import { GrpcBalancer } from './balancer.ts'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const services = LoadBalancer.fromAddresses(options.services, roundRobin())
    services.setHealthCheck(new TcpHealthCheck(), { intervalMs: 1_000 })
    const balancer = new GrpcBalancer(services, (line) => process.stdout.write(`${line}\n`))
    // Over TLS clients agree on HTTP/2 by themselves; without it they just begin to speak it.
    const proxy = httpProxyService(server.configuration, balancer, { name: 'proxy', server: { h2c: true } })
    proxy.addListener({ address: options.bindAddress })
    server.addServices([services.backgroundService(), proxy])
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`grpc-proxy: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
