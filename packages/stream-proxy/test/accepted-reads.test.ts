import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { readInto } from '../src/accepted-reads.ts'

async function accepted(onSocket: (socket: Socket) => void): Promise<void> {
  const server = createServer(onSocket).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => undefined)
  client.write('hello')
  await once(client, 'close')
  server.close()
}

test.skipIf(process.platform === 'win32')(
  'an accepted socket of this Node can be made to read into memory of ours, another one each time',
  async () => {
    const buffers = [Buffer.alloc(3), Buffer.alloc(100)]
    const reads: [text: string, index: number][] = []
    let taken = 0
    await accepted((socket) => {
      const isOurs = readInto(socket, {
        buffer: () => buffers[taken++] ?? Buffer.alloc(1),
        callback: (count, buffer) => {
          reads.push([
            Buffer.from(buffer).toString('latin1', 0, count),
            buffers.indexOf(buffer as Buffer<ArrayBuffer>),
          ])
          if (reads.length === 2) socket.destroy()
          return true
        },
      })
      expect(isOurs).toBe(true)
      socket.resume()
    })
    expect(reads).toEqual([
      ['hel', 0],
      ['lo', 1],
    ])
  },
)

test('a socket that somebody reads already is left alone', async () => {
  await accepted((socket) => {
    socket.on('data', () => socket.destroy())
    expect(readInto(socket, { buffer: () => Buffer.alloc(1), callback: () => true })).toBe(false)
  })
})
