// A proxy that can be upgraded; PEER is where everything goes.
import { HttpPeer, Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'

const peer = new HttpPeer(process.env['PEER'] ?? '')
const server = new Server()
const proxy = httpProxyService(server.configuration, { upstreamPeer: () => peer })
proxy.addTcp('127.0.0.1:0')
server.addService(proxy)
server.onPhase((phase) => {
  if (phase === 'running') {
    const ports = proxy.endpoints().map((address) => address.text)
    process.stdout.write(`running ${process.pid} generation ${server.generation} at ${ports.join(' ')}\n`)
  }
  process.stdout.write(`${process.pid} phase ${phase}\n`)
})
await server.runForever()
