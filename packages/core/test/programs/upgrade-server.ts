// A server for the upgrade tests. It tells its generation in every answer; the environment says what to break.
import { existsSync } from 'node:fs'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { backgroundService, ListeningService, Server, serveHttp } from '@cirque/core'

const { env } = process
const server = new Server()
const chunk = Buffer.alloc(16_384, 'x')
const app = serveHttp(async (session) => {
  if (session.request.path !== '/slow') {
    session.respond(200, { body: `gen=${server.generation} pid=${process.pid}\n` })
    return
  }
  await session.respondStream(
    Readable.from(slowly()),
    200,
    { 'Content-Length': String(64 * chunk.length) },
    64 * chunk.length,
  )
})

async function* slowly(): AsyncGenerator<Buffer, void, undefined> {
  for (let count = 0; count < 64; count += 1) {
    yield chunk
    await delay(10)
  }
}

const service = new ListeningService('web', app)
service.addTcp(env['ADDRESS'] ?? '127.0.0.1:0', { reusePort: env['REUSE'] !== undefined })
if (env['UNIX'] !== undefined) service.addUnix(env['UNIX'])
if (env['TLS_CERT'] !== undefined) {
  service.addTls(
    '127.0.0.1:0',
    { certFile: env['TLS_CERT'], keyFile: env['TLS_KEY'] ?? '' },
    { reusePort: env['REUSE'] !== undefined },
  )
}
let isFirst = true
const memory = Object.assign(
  backgroundService('memory', {
    async start(shutdown, ready) {
      if (env['FAIL'] === 'init' && server.arguments.upgrade) throw new Error('init was told to fail')
      const awaited = env['INIT_AWAITS']
      if (awaited !== undefined && server.arguments.upgrade) {
        process.stdout.write(`preparing ${process.pid}\n`)
        while (!existsSync(awaited)) await delay(10, undefined, { signal: shutdown })
      }
      ready()
      await new Promise((resolve) => shutdown.addEventListener('abort', resolve))
    },
  }),
  {
    exportState: () => ({ isFirst, text: 'remembered' }),
    importState(state: unknown) {
      isFirst = false
      process.stdout.write(`imported ${JSON.stringify(state)}\n`)
    },
    reload: () => void process.stdout.write('reloaded\n'),
  },
)
server.addService(service)
server.addService(memory)
if (env['ECHO'] !== undefined) {
  const echo = new ListeningService('echo', {
    onConnection: (socket) => void socket.pipe(socket),
    startDraining() {},
  })
  server.addService(echo.addTcp(env['ECHO']))
}
if (env['EXTRA'] !== undefined) {
  server.addService(new ListeningService('extra', app).addTcp(env['EXTRA'], { bindAttemptsMax: 1 }))
}
server.onPhase((phase) => {
  if (server.thread > 0) return
  if (phase === 'running') {
    const ports = service.endpoints().map((address) => address.text)
    process.stdout.write(`running ${process.pid} generation ${server.generation} at ${ports.join(' ')}\n`)
  }
  process.stdout.write(`${process.pid} phase ${phase}\n`)
})
await server.runForever()
