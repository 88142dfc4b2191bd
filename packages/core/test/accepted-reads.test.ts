import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { expect, test } from 'vitest'
import { readInto } from '../src/sockets/accepted-reads.ts'

const data = join(import.meta.dirname, 'data')
const identity = {
  cert: readFileSync(join(data, 'localhost.pem')),
  key: readFileSync(join(data, 'localhost-key.pem')),
}
const onWindows = process.platform === 'win32'

/** Connects, sends `hello` and waits until the connection is closed. */
async function greet(server: Server, tls: boolean): Promise<void> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client: Socket = tls
    ? connectTls({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false })
    : connect(port, '127.0.0.1')
  client.on('error', () => undefined)
  client.write('hello')
  await once(client, 'close')
  server.close()
}

for (const [kind, tls] of [
  ['a plain', false],
  ['a TLS', true],
] as const) {
  function serve(onSocket: (socket: Socket) => void): Promise<void> {
    return greet(tls ? createTlsServer(identity, onSocket) : createServer(onSocket), tls)
  }

  test.skipIf(onWindows)(
    `${kind} socket of this Node.js, once accepted, can be made to read into one buffer`,
    async () => {
      const buffer = Buffer.alloc(3)
      const reads: string[] = []
      await serve((socket) => {
        const isOurs = readInto(socket, buffer, (count, memory) => {
          expect(memory).toBe(buffer)
          reads.push(memory.toString('latin1', 0, count))
          if (reads.length === 2) socket.destroy()
          return true
        })
        expect(isOurs).toBe(true)
        socket.resume()
      })
      expect(reads).toEqual(['hel', 'lo'])
    },
  )

  test.skipIf(onWindows)(`${kind} socket can be given another buffer for each read`, async () => {
    const buffers = [Buffer.alloc(3), Buffer.alloc(100)]
    const reads: [text: string, index: number][] = []
    let taken = 0
    await serve((socket) => {
      const isOurs = readInto(
        socket,
        () => buffers[taken++] ?? Buffer.alloc(1),
        (count, buffer) => {
          reads.push([buffer.toString('latin1', 0, count), buffers.indexOf(buffer as Buffer<ArrayBuffer>)])
          if (reads.length === 2) socket.destroy()
          return true
        },
      )
      expect(isOurs).toBe(true)
      socket.resume()
    })
    expect(reads).toEqual([
      ['hel', 0],
      ['lo', 1],
    ])
  })

  test(`${kind} socket that somebody reads already is left alone`, async () => {
    await serve((socket) => {
      socket.on('data', () => socket.destroy())
      expect(readInto(socket, Buffer.alloc(1), () => true)).toBe(false)
    })
  })
}
