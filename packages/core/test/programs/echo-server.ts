// An echo server that prints its port and every phase; the process tests send it signals.
import type { Socket } from 'node:net'
import { ListeningService, Server, type ServerApp } from '../../src/index.ts'

const { env } = process
const idle = new Set<Socket>()
const app: ServerApp = {
  onConnection(socket) {
    idle.add(socket)
    socket.on('data', (data) => {
      idle.delete(socket) // a client that has spoken holds the drain up until it leaves
      socket.write(data)
    })
    socket.on('end', () => socket.end())
  },
  startDraining() {
    for (const socket of idle) socket.destroy()
  },
  async cleanup() {
    process.stdout.write('cleanup\n')
    if (env['HANGING_CLEANUP'] !== undefined) await new Promise(() => undefined)
  },
}
const server = new Server()
const service = new ListeningService('echo', app, { connectionsMax: 5000 })
service.addTcp(env['ADDRESS'] ?? '127.0.0.1:0', { bindAttemptsMax: 1 })
server.addService(service)
server.onPhase((phase) => {
  if (phase === 'running') process.stdout.write(`port ${service.endpoints()[0]?.text.split(':').at(-1)}\n`)
  process.stdout.write(`phase ${phase}\n`)
})
await server.runForever()
