import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { tcpProxyService } from '@cirque/stream-proxy'
import { parseOptions, USAGE } from './options.ts'
import { Relay } from './relay.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const backends = LoadBalancer.fromAddresses(options.peerAddresses, roundRobin())
    const { sendProxyProtocol } = options
    const relay = new Relay(backends, sendProxyProtocol === undefined ? {} : { sendProxyProtocol })
    const proxy = tcpProxyService(server.configuration, relay)
    proxy.addListener({ address: options.bindAddress })
    server.addService(proxy)
    server.addService(backends.backgroundService())
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`tcp-proxy: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
