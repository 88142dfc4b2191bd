import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { encryptsAtOnce, writeGathered } from '../src/http1/wire.ts'
import { HttpPeer, WRITE_DONE, WRITE_PAUSE, type WriteResult } from '../src/index.ts'
import { turn } from './support/raw-client.ts'
import { Recorder, requestOf, startConnector } from './support/upstream.ts'

const data = join(import.meta.dirname, 'data')
const cert = readFileSync(join(data, 'localhost.pem'))
const key = readFileSync(join(data, 'localhost-key.pem'))
const KEPT = 0x6b
// Not in any head.
const REUSED = 0x02

/** Resolves to how many bytes came, when they are `count`; rejects at one that was written after its write. */
async function receive(socket: Socket, count: number): Promise<number> {
  let received = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    if (chunk.includes(REUSED)) throw new Error('The memory was read after the write had returned')
    received += chunk.length
    if (received >= count) break
  }
  return received
}

/** Writes `sizes` one after the other, each when nothing is queued, and spoils the memory as each write returns. */
async function writeAndSpoil(socket: Socket, sizes: readonly number[]): Promise<void> {
  const memory = Buffer.alloc(Math.max(...sizes))
  for (const size of sizes) {
    expect(socket.writableLength).toBe(0)
    memory.fill(KEPT)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    socket.write(memory.subarray(0, size), (error) => (error ? reject(error) : resolve()))
    memory.fill(REUSED)
    await promise
  }
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a ${version} socket has done with the memory of a write when it returns`, async () => {
    // More than the kernel takes while nobody reads.
    const sizes = [1, 10_240, 16_384, 16_385, 262_144, 8 * 1024 * 1024, 3, 70_000]
    const written = Promise.withResolvers<void>()
    const options = { cert, key, minVersion: version, maxVersion: version } as const
    const server = createTlsServer(options, (socket) => {
      socket.on('error', written.reject)
      expect(encryptsAtOnce(socket)).toBe(true)
      writeAndSpoil(socket, sizes).then(written.resolve, written.reject)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    const sum = sizes.reduce((a, b) => a + b)
    expect(await receive(client, sum)).toBe(sum)
    await written.promise
    client.destroy()
    server.close()
  })
}

test('so has one whose handshake is not complete', async () => {
  const server = createTlsServer({ cert, key }).listen(0, '127.0.0.1')
  const received = once(server, 'secureConnection').then(([socket]) => receive(socket as Socket, 20_000))
  await once(server, 'listening')
  const raw = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(raw, 'connect')
  const client = connectTls({ socket: raw, rejectUnauthorized: false })
  expect(client.constructor).toBe(TLSSocket)
  await writeAndSpoil(client, [20_000])
  expect(await received).toBe(20_000)
  client.destroy()
  server.close()
})

test('a plain socket has not', async () => {
  const server = createServer((socket) => {
    expect(encryptsAtOnce(socket)).toBe(false)
    socket.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  await once(connect((server.address() as AddressInfo).port, '127.0.0.1').resume(), 'close')
  server.close()
})

test('text, bytes and text leave in one write, as many as there is room for', async () => {
  const room = 2 * 65_536
  const server = createTlsServer({ cert, key }, (socket) => {
    expect(writeGathered(socket, 'head:', Buffer.alloc(room, 'b'), 0, room - 8, '\r\n')).toBe(true)
    expect(writeGathered(socket, 'head:', Buffer.alloc(room), 0, room - 4, '')).toBe(false)
    socket.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  client.setEncoding('latin1')
  let text = ''
  for await (const chunk of client as AsyncIterable<string>) text += chunk
  expect(text).toBe(`head:${'b'.repeat(room - 8)}\r\n`)
  server.close()
})

test.each([-1, 1_000_000])(
  'an upload to a peer over TLS, of length %d, has done with the memory that it says it has',
  async (length) => {
    const server = createTlsServer({ cert, key }).listen(0, '127.0.0.1')
    const received = once(server, 'secureConnection').then(([socket]) => receive(socket as Socket, 1_000_000))
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await using connector = startConnector()
    const session = await connector.session(
      new HttpPeer(`127.0.0.1:${port}`, { tls: true, verifyCertificate: false }),
    )
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), length, false)
    const results = new Set<WriteResult>()
    let memory = Buffer.alloc(70_000)
    for (let left = 1_000_000, size = 1; left > 0; left -= size, size = Math.min(left, (size * 7) % 70_001)) {
      memory.fill(KEPT, 0, size)
      const drains = recorder.drains
      const result = session.writeBody(memory, 0, size)
      results.add(result)
      if (result === WRITE_DONE || result === WRITE_PAUSE) memory.fill(REUSED)
      else memory = Buffer.alloc(70_000)
      while (result >= WRITE_PAUSE && recorder.drains === drains) await turn()
      // Now and then several writes in a turn: only the first finds nothing queued.
      if (size % 2 === 0) await turn()
    }
    session.endRequest(null)
    expect(await received).toBeGreaterThanOrEqual(1_000_000)
    expect(results).toContain(WRITE_DONE)
    expect(results).toContain(WRITE_PAUSE)
    session.destroy()
    server.close()
  },
)
