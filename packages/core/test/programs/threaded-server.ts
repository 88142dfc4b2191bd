// A server for the tests of worker threads. Paths of requests say what to do to the thread that serves them.
import {
  backgroundService,
  type HttpServerApp,
  ListeningService,
  Server,
  serveHttp,
} from '../../src/index.ts'

const { env } = process
const server = new Server({
  argv: process.argv.slice(2),
  configuration: {
    threads: Number(env['THREADS'] ?? 2),
    threadWatchdogSeconds: Number(env['WATCHDOG'] ?? 5),
    threadWatchdogReplaces: env['REPLACES'] !== undefined,
    gracePeriodSeconds: Number(env['GRACE'] ?? 20),
    gracefulShutdownTimeoutSeconds: env['GRACE'] === undefined ? 5 : 0.5,
    ...(env['HEAP'] === undefined ? {} : { threadHeapMegabytes: Number(env['HEAP']) }),
  },
})
if (env['FAIL'] === 'load' && server.thread === 1) throw new Error('load was told to fail')
const hits = new Int32Array(server.shared.buffer('hits', 4))
/** Set once by the main thread: whoever spins stops. */
const told = new Int32Array(server.shared.buffer('told', 4))
const hoard: unknown[] = []

function spin(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until && Atomics.load(told, 0) === 0; );
}

const app: HttpServerApp = serveHttp(async (session) => {
  const { path } = session.request
  if (path === '/throw')
    setImmediate(() => {
      throw new Error('told to throw')
    })
  else if (path === '/hoard') setInterval(() => hoard.push(new Array(100_000).fill(Math.random())), 1)
  else if (path.startsWith('/spin')) spin(Number(path.slice(5)))
  session.respond(200, {
    body: `thread=${server.thread} gen=${server.generation} hits=${Atomics.add(hits, 0, 1) + 1} pid=${process.pid} from=${session.remoteAddress}\n`,
  })
})
const web = new ListeningService('web', app, {
  connectionsMax: Number(env['CONNECTIONS_MAX'] ?? 20_000),
  connectionsPerIpMax: Number(env['PER_IP_MAX'] ?? 0),
})
web.addTcp(env['ADDRESS'] ?? '127.0.0.1:0', {
  ...(env['REUSE'] === undefined ? {} : { reusePort: true }),
  ...(env['LISTENER_MAX'] === undefined ? {} : { connectionsMax: Number(env['LISTENER_MAX']) }),
})
if (env['UNIX'] !== undefined) web.addUnix(env['UNIX'])
if (env['PROXY'] !== undefined) web.addTcp('127.0.0.1:0', { proxyProtocol: { trusted: 'any' } })
if (env['TLS_CERT'] !== undefined) {
  web.addTls('127.0.0.1:0', { certFile: env['TLS_CERT'], keyFile: env['TLS_KEY'] ?? '' })
}
server.addService(web)
const single = new ListeningService(
  'single',
  serveHttp((session) => {
    if (session.request.path === '/stop') Atomics.store(told, 0, 1)
    session.respond(200, { body: JSON.stringify({ threads: server.threads, counters: web.counters }) })
  }),
  { threads: 1 },
)
server.addService(single.addTcp('127.0.0.1:0'))
server.addService(
  Object.assign(
    backgroundService('once', {
      async start(shutdown) {
        process.stdout.write(`background in thread ${server.thread}\n`)
        await new Promise((resolve) => shutdown.addEventListener('abort', resolve))
      },
    }),
    { reload: () => void process.stdout.write(`reloaded in thread ${server.thread}\n`) },
  ),
)
if (env['FAIL'] === 'service') {
  server.addService({
    name: 'failing',
    start() {},
    startInWorker({ thread }) {
      if (thread === 2) throw new Error('service was told to fail')
    },
    drain: async () => {},
    destroy() {},
  })
}
if (env['FAIL'] === 'shape' && server.thread === 2)
  server.addService(backgroundService('extra', { start() {} }))
server.onPhase((phase) => {
  if (phase === 'running' && server.thread === 0) {
    const ports = [...web.endpoints(), ...single.endpoints()].map((address) => address.text.split(':').at(-1))
    process.stdout.write(`running ${process.pid} generation ${server.generation} at ${ports.join(' ')}\n`)
  }
  process.stdout.write(`thread ${server.thread} phase ${phase}\n`)
})
await server.runForever()
process.stdout.write(`thread ${server.thread} ended\n`)
