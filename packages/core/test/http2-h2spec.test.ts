import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { expect, test } from 'vitest'
import { serveHttp } from '../src/index.ts'
import { startApp } from './support/http-server.ts'

const missing = spawnSync('h2spec', ['--version']).error !== undefined
if (missing) process.stderr.write('The tests with h2spec are skipped: it is not installed\n')

/** What h2spec says in the end; it exits with 1 when a case fails. */
function h2spec(port: number, ...more: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile('h2spec', ['-h', '127.0.0.1', '-p', `${port}`, ...more], (_error, stdout) => {
      const failures = stdout.indexOf('Failures:')
      resolve(failures < 0 ? (stdout.trim().split('\n').at(-1) ?? '') : stdout.slice(failures))
    })
  })
}

const app = () =>
  serveHttp(
    async (session) => {
      await session.readRequestBody()
      session.respond(200, { body: 'a body of some bytes' })
    },
    { h2c: true },
  )

test.skipIf(missing)(
  'h2spec passes on a cleartext port that serves HTTP/1 too',
  { timeout: 60_000 },
  async () => {
    await using server = await startApp(app())
    expect(await h2spec(server.port)).toMatch(/^(\d+) tests, \1 passed, 0 skipped, 0 failed$/)
  },
)

test.skipIf(missing)('h2spec passes over TLS', { timeout: 60_000 }, async () => {
  const folder = join(import.meta.dirname, 'data')
  const served = app()
  const server = tls.createServer(
    {
      key: readFileSync(join(folder, 'localhost-key.pem')),
      cert: readFileSync(join(folder, 'localhost.pem')),
      ALPNProtocols: [...served.alpnProtocols],
    },
    (socket) => {
      socket.on('error', () => undefined)
      served.onConnection(socket)
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  expect(await h2spec(port, '-t', '-k')).toMatch(/^(\d+) tests, \1 passed, 0 skipped, 0 failed$/)
  served.startDraining()
  server.close()
  await once(server, 'close')
})
