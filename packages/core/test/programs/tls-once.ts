// Serves two TLS connections to itself, the second resumed, and says so.
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { createConfiguration, ListeningService, silentLogger, type TcpAddress } from '../../src/index.ts'

const data = new URL('../data/', import.meta.url)
const cert = readFileSync(new URL('localhost.pem', data))
const key = readFileSync(new URL('localhost-key.pem', data))
const service = new ListeningService('once', {
  onConnection: (socket) => void socket.end('hello'),
  startDraining: () => undefined,
})
service.addTls('127.0.0.1:0', { cert, key })
const shutdown = new AbortController()
await service.start({ configuration: createConfiguration(), logger: silentLogger, shutdown: shutdown.signal })
const { port } = service.endpoints()[0] as TcpAddress
let session: Buffer | undefined
for (let visit = 0; visit < 2; visit += 1) {
  const options = { host: '127.0.0.1', port, servername: 'localhost', ca: cert }
  const client = connect(session === undefined ? options : { ...options, session })
  client.on('session', (given: Buffer) => {
    session = given
  })
  client.on('secureConnect', () => process.stdout.write(`resumed ${client.isSessionReused()}\n`))
  await new Promise((resolve) => client.resume().once('close', resolve))
}
await service.drain()
