import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { HttpPeer } from '@cirque/core'
import { Agent, request } from 'undici'
import { expect, test } from 'vitest'
import { CERTIFICATE, startOrigin } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'

const run = promisify(execFile)

function missing(tool: string): boolean {
  const isMissing = spawnSync(tool, ['--version']).error !== undefined
  if (isMissing) process.stderr.write(`Tests with ${tool} are skipped: it is not installed\n`)
  return isMissing
}

async function startEcho(up: 1 | 2 = 2) {
  const stack = new AsyncDisposableStack()
  const origin = stack.use(
    await startOrigin(up, (incoming, response) => {
      let size = 0
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length
      })
      incoming.on('end', () => response.end(`${incoming.method} ${incoming.url} ${size}`))
    }),
  )
  const peer = new HttpPeer(origin.address, { httpVersion: up })
  const proxy = stack.use(await startProxy({ upstreamPeer: () => peer }, { server: { h2c: true } }))
  return { port: proxy.port, proxy, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

test.skipIf(missing('curl'))('curl speaks HTTP/2 with prior knowledge, with and without a body', async () => {
  await using echo = await startEcho()
  const url = `http://127.0.0.1:${echo.port}/x`
  const curl = async (...more: string[]) =>
    (await run('curl', ['-sS', '--http2-prior-knowledge', ...more, url])).stdout
  expect(await curl()).toBe('GET /x 0')
  expect(await curl('-d', 'abc')).toBe('POST /x 3')
  expect(await curl('-H', 'Expect: 100-continue', '-d', 'x'.repeat(5_000))).toBe('POST /x 5000')
  // An upgrade to h2c is not followed: the request is answered over HTTP/1.1.
  expect((await run('curl', ['-sS', '--http2', url])).stdout).toBe('GET /x 0')
})

test.skipIf(missing('nghttp'))('nghttp sees one response per request', async () => {
  await using echo = await startEcho()
  const { stdout } = await run('nghttp', [
    '-v',
    `http://127.0.0.1:${echo.port}/a`,
    `http://127.0.0.1:${echo.port}/b`,
  ])
  expect(stdout.match(/:status: 200/g)).toHaveLength(2)
})

test.skipIf(missing('h2load')).each([1, 2] as const)(
  'h2load: 2,000 requests over HTTP/2 to HTTP/%d',
  async (up) => {
    await using echo = await startEcho(up)
    const { stdout } = await run('h2load', [
      '-n',
      '2000',
      '-c',
      '4',
      '-m',
      '20',
      `http://127.0.0.1:${echo.port}/`,
    ])
    expect(stdout).toContain('2000 succeeded, 0 failed, 0 errored')
    expect(echo.proxy.errors()).toEqual([])
  },
)

test('undici speaks HTTP/2 over TLS', async () => {
  const { once } = await import('node:events')
  const tls = await import('node:tls')
  await using echo = await startEcho()
  const app = echo.proxy.proxy.serverApp
  const server = tls.createServer({ ...CERTIFICATE, ALPNProtocols: [...app.alpnProtocols] }, (socket) => {
    socket.on('error', () => undefined)
    app.onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as import('node:net').AddressInfo
  const dispatcher = new Agent({ allowH2: true, connect: { ca: CERTIFICATE.cert, servername: 'localhost' } })
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      const { body } = await request(`https://127.0.0.1:${port}/${i}`, {
        dispatcher,
        method: 'POST',
        body: 'abcd',
      })
      return body.text()
    }),
  )
  expect(answers).toEqual(Array.from({ length: 10 }, (_, i) => `POST /${i} 4`))
  await dispatcher.close()
  server.close()
  await once(server, 'close')
})
