// Serves itself over TLS, with each version twice, the second time resumed; says what was agreed, and whether a group
// that FIPS does not know is refused.
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import {
  connectionDigest,
  createConfiguration,
  ListeningService,
  silentLogger,
  type TcpAddress,
} from '../../src/index.ts'

const data = new URL('../data/', import.meta.url)
const cert = readFileSync(new URL('localhost.pem', data))
const key = readFileSync(new URL('localhost-key.pem', data))
const service = new ListeningService('once', {
  onConnection(socket) {
    const { version, cipher, group, resumed } = connectionDigest(socket, 0, 1).tls ?? {}
    process.stdout.write(`${version} ${cipher} ${group} ${resumed ? 'resumed' : 'new'}\n`)
    socket.end('hello')
  },
  startDraining: () => undefined,
})
service.addTls('127.0.0.1:0', { cert, key })
const shutdown = new AbortController()
await service.start({ configuration: createConfiguration(), logger: silentLogger, shutdown: shutdown.signal })
const { port } = service.endpoints()[0] as TcpAddress
for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
  let session: Buffer | undefined
  for (let visit = 0; visit < 2; visit += 1) {
    const options = { host: '127.0.0.1', port, servername: 'localhost', ca: cert, maxVersion }
    const client = connect(session === undefined ? options : { ...options, session })
    client.on('session', (given: Buffer) => {
      session = given
    })
    await new Promise((resolve) => client.resume().once('close', resolve))
  }
}
try {
  new ListeningService('classic', { onConnection: () => undefined, startDraining: () => undefined }).addTls(
    '127.0.0.1:0',
    { cert, key, ecdhCurve: 'X25519' },
  )
  process.stdout.write('X25519 alone is taken\n')
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`)
}
await service.drain()
