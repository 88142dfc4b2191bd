// What threads.bench.ts measures: answers "hello", after as many hashes as the path says.
import { createHash } from 'node:crypto'
import { ListeningService, Server, serveHttp, silentLogger } from '../src/index.ts'

const server = new Server({
  argv: false,
  configuration: { threads: Number(process.argv[2]), gracePeriodSeconds: 1 },
  logger: silentLogger,
})
const block = Buffer.alloc(16_384, 'x')
const service = new ListeningService(
  'web',
  serveHttp((session) => {
    const count = Number(session.request.path.slice(1))
    for (let done = 0; done < count; done += 1) createHash('sha256').update(block).digest()
    session.respond(200, { body: 'hello\n' })
  }),
)
server.addService(service.addTcp('127.0.0.1:0', { reusePort: process.argv[3] === 'r' }))
server.onPhase((phase) => {
  if (phase === 'running' && server.thread === 0) process.send?.(service.endpoints()[0]?.text)
})
await server.runForever()
