import { createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { readShared } from '../src/http1/accepted-reads.ts'

test.skipIf(process.platform === 'win32')(
  'an accepted socket of this Node can be made to read into shared memory',
  async () => {
    const { promise, resolve } = Promise.withResolvers<{ shared: boolean; text: string }>()
    const server = createServer((socket) => {
      socket.on('error', () => {})
      const shared = readShared(socket, (count, buffer) => {
        resolve({ shared, text: buffer.toString('latin1', 0, count) })
        socket.end()
        return true
      })
      if (!shared) resolve({ shared, text: '' })
    })
    server.listen(0, '127.0.0.1')
    const client = await connectTo(server)
    client.write('hello')
    expect(await promise).toEqual({ shared: true, text: 'hello' })
    client.destroy()
    server.close()
  },
)

test('a socket that somebody reads already is left alone', async () => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => {})
    resolve(readShared(socket, () => true))
    socket.end()
  })
  server.listen(0, '127.0.0.1')
  const client = await connectTo(server)
  expect(await promise).toBe(false)
  client.destroy()
  server.close()
})

async function connectTo(server: ReturnType<typeof createServer>): Promise<Socket> {
  const { connect } = await import('node:net')
  const { once } = await import('node:events')
  if (!server.listening) await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const client = connect(address.port, '127.0.0.1')
  client.on('error', () => {})
  await once(client, 'connect')
  return client
}
