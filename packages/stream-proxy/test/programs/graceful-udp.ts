// A UDP proxy that can be upgraded; PEER is where everything goes.
import { Server } from '@cirque/core'
import { udpProxyService } from '@cirque/stream-proxy'

const server = new Server()
const proxy = udpProxyService({ upstreamPeer: () => process.env['PEER'] ?? '' }, { responsesPerDatagram: 1 })
for (const address of (process.env['LISTEN'] ?? '127.0.0.1:0 [::1]:0').split(' ')) {
  proxy.addUdp(address, { receiveBufferBytes: 4_194_304 }) // what comes while a busy machine lets nobody read
}
server.addService(proxy)
server.onPhase((phase) => {
  if (phase === 'running') {
    const ports = proxy.endpoints().map((address) => address.text)
    process.stdout.write(`running ${process.pid} generation ${server.generation} at ${ports.join(' ')}\n`)
  }
  const { dropped, refused } = proxy.stats()
  process.stdout.write(`${process.pid} phase ${phase}, dropped ${dropped}, refused ${refused}\n`)
})
await server.runForever()
