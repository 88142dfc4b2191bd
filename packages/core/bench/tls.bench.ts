/**
 * What TLS costs a server: CPU time per full handshake, per resumed one, and per request on connections that are kept,
 * beside nginx and a bare TLS server of Node.js, which does nothing with its connections and so has no requests to
 * show. Needs nginx and h2load. Linux only: CPU time is read from /proc. Clients ask for X25519, for an nginx with an
 * OpenSSL before 3.5 has no post-quantum key exchange to pay for. `bench/` compares a whole proxy; this one looks closer.
 *
 *     node --conditions=@cirque/source packages/core/bench/tls.bench.ts
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer as createTlsServer } from 'node:tls'
import { ListeningService, Server, serveHttp, type TlsListenerOptions } from '../src/index.ts'

const data = join(import.meta.dirname, '../test/data')
const certFile = join(data, 'localhost.pem')
const keyFile = join(data, 'localhost-key.pem')
const NGINX = 'nginx'
const H2LOAD = 'h2load'
const HANDSHAKES = 1_500
const WARM_UP_ROUNDS = 3
const AT_ONCE = 16
const REQUESTS = 30_000
const ROUNDS = 3
const TICKS_PER_SECOND = 100 // USER_HZ, the same on every Linux

/** What is started in a process of its own: one certificate, or names with two policies, which are peeked at. */
async function serve(kind: string, port: number): Promise<void> {
  if (kind === 'node:tls') {
    const tls = createTlsServer({ cert: readFileSync(certFile), key: readFileSync(keyFile) }, (socket) => {
      socket.on('error', () => undefined).resume()
    })
    tls.listen(port, '127.0.0.1')
    return
  }
  const own: TlsListenerOptions = { certFile, keyFile }
  const app = serveHttp((session) => session.respond(200, { body: 'Hello, world!' }))
  const service = new ListeningService('bench', app)
  const other = { certFile, keyFile, serverNames: ['other.example'], alpnProtocols: ['other'] }
  service.addTls(`127.0.0.1:${port}`, kind === 'two-policies' ? { ...own, certificates: [other] } : own)
  const server = new Server({ argv: false })
  server.addService(service)
  await server.run()
}

function nginxConfiguration(port: number, folder: string): string {
  return `daemon off; master_process off; pid ${folder}/pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000; client_body_temp_path ${folder}; proxy_temp_path ${folder};
  fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  server {
    listen 127.0.0.1:${port} ssl; ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};
    location / { return 200 "Hello, world!"; }
  }
}`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** CPU time of a process so far, in ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}

function handshake(port: number, session?: Buffer): Promise<Buffer | undefined> {
  const name = { servername: 'localhost', rejectUnauthorized: false, ecdhCurve: 'X25519' }
  const options = { host: '127.0.0.1', port, ...name }
  const client = connect(session === undefined ? options : { ...options, session })
  const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>()
  let given: Buffer | undefined
  client.on('session', (next: Buffer) => {
    given = next
    if (session === undefined) client.end()
  })
  client.on('secureConnect', () => {
    if (session === undefined) return // TLS 1.3 sends the session after it
    if (!client.isSessionReused()) reject(new Error('Not resumed'))
    client.end()
  })
  client.on('error', reject)
  client.on('close', () => resolve(given))
  client.resume()
  return promise
}

async function handshakes(port: number, session?: Buffer): Promise<void> {
  let left = HANDSHAKES
  const runner = async (): Promise<void> => {
    while (left-- > 0) await handshake(port, session)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, runner))
}

/** Microseconds of the server's CPU per handshake, resumed handshake and request. */
async function measure(server: ChildProcess, port: number, hasRequests: boolean): Promise<number[]> {
  const pid = server.pid ?? 0
  for (;;) {
    try {
      await handshake(port)
      break
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  // The first thousands of handshakes run code that is not compiled yet.
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await handshakes(port)
  const found: number[] = []
  const time = async (count: number, act: () => Promise<unknown> | unknown): Promise<void> => {
    const before = cpuMs(pid)
    await act()
    found.push(((cpuMs(pid) - before) * 1000) / count)
  }
  const session = await handshake(port)
  await time(HANDSHAKES, () => handshakes(port))
  await time(HANDSHAKES, () => handshakes(port, session))
  const load = ['--h1', '-n', String(REQUESTS), '-c', '16', `https://127.0.0.1:${port}/`]
  if (hasRequests) await time(REQUESTS, () => execFileSync(H2LOAD, load, { stdio: 'ignore' }))
  server.kill('SIGKILL')
  await once(server, 'close')
  return found
}

async function compare(): Promise<void> {
  for (const tool of [NGINX, H2LOAD]) {
    if (spawnSync(tool, ['--version']).error !== undefined) throw new Error(`${tool} is not installed`)
  }
  const folder = mkdtempSync(join(tmpdir(), 'cirque-bench-'))
  process.stdout.write(
    `Node.js ${process.version}, ${cpus()[0]?.model}; µs of server CPU, median of ${ROUNDS}\n`,
  )
  const starts: Record<string, (port: number) => ChildProcess> = {
    nginx: (port) => {
      writeFileSync(join(folder, 'nginx.conf'), nginxConfiguration(port, folder))
      return spawn(NGINX, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'ignore' })
    },
  }
  for (const kind of ['node:tls', 'one-policy', 'two-policies']) {
    starts[kind] = (port) => {
      const argv = ['--conditions=@cirque/source', import.meta.filename, kind, String(port)]
      return spawn(process.execPath, argv, { stdio: 'ignore' })
    }
  }
  const results: Record<string, number[][]> = {}
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, start] of Object.entries(starts)) {
      const port = await freePort()
      results[name] = [...(results[name] ?? []), await measure(start(port), port, name !== 'node:tls')]
    }
  }
  rmSync(folder, { recursive: true })
  process.stdout.write(`${''.padEnd(14)}full  resumed  request on a kept connection\n`)
  for (const [name, rounds] of Object.entries(results)) {
    const medians = [0, 1, 2].map((column) => {
      const values = rounds.map((row) => row[column] ?? Number.NaN).sort((a, b) => a - b)
      const median = values[ROUNDS >> 1] ?? Number.NaN
      return Number.isNaN(median) ? '-' : median.toFixed(1)
    })
    process.stdout.write(`${name.padEnd(14)}${medians.join('  ')}\n`)
  }
}

const [kind, port] = process.argv.slice(2)
if (kind === undefined) await compare()
else await serve(kind, Number(port))
