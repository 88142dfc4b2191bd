import { Server } from '@cirque/core'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { udpProxyService } from '@cirque/stream-proxy'
import { parseOptions, USAGE } from './options.ts'

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else {
    const server = new Server({ argv: options.server })
    const backends = LoadBalancer.fromAddresses(options.peerAddresses, roundRobin())
    // DNS: one response for each query, soon or never (RFC 1035 §4.2.1).
    const proxy = udpProxyService(
      { upstreamPeer: () => backends.select() },
      { name: 'DNS proxy', responsesPerDatagram: 1, idleTimeoutMs: 5_000 },
    )
    proxy.addUdp(options.bindAddress)
    server.addService(proxy)
    await server.runForever()
  }
} catch (error) {
  process.stderr.write(`udp-proxy: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 1
}
