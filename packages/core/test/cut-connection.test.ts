import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { cutConnection } from '../src/index.ts'

/** A connection over TCP: the end that is cut, and its peer, which reads. */
async function connected(): Promise<{ near: Socket; far: Socket } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const far = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [near] = (await once(server, 'connection')) as [Socket]
  if (far.connecting) await once(far, 'connect')
  far.on('error', () => undefined)
  near.on('error', () => undefined)
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      far.destroy()
      near.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const openSockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length

/** Resolves when both ends are closed and nothing is left of either. */
async function gone({ near, far }: { near: Socket; far: Socket }): Promise<void> {
  if (!near.closed) await once(near, 'close')
  far.destroy()
  if (!far.closed) await once(far, 'close')
  // A handle is gone a little after its `close`.
  await vi.waitFor(() => expect(openSockets()).toBe(0))
}

test('the peer of a connection that is cut gets a reset', async () => {
  await using ends = await connected()
  const reset = once(ends.far.resume(), 'error')
  cutConnection(ends.near)
  expect((await reset)[0]).toMatchObject({ code: 'ECONNRESET' })
  await gone(ends)
})

// Node.js 26.12 keeps a socket for ever that it is told to reset while its end is on the way: it is no more in
// anybody's hands, its `close` never comes, and its descriptor stays.
test.each([0, 1, 2, 5])('what is cut %i ticks after its end is closed like any other', async (ticks) => {
  await using ends = await connected()
  ends.near.write('the last words')
  ends.near.end()
  for (let i = 0; i < ticks; i++) await new Promise<void>((resolve) => process.nextTick(resolve))
  cutConnection(ends.near)
  let received = ''
  for await (const data of ends.far) received += String(data)
  expect(received).toBe('the last words')
  await gone(ends)
})

test('what is cut before its last bytes are sent is not taken for whole', async () => {
  await using ends = await connected()
  const size = 32 << 20
  ends.near.write(Buffer.alloc(size))
  ends.near.end()
  await new Promise(setImmediate)
  let received = 0
  ends.far.on('data', (data) => {
    received += data.length
  })
  const cut = once(ends.far, 'error')
  cutConnection(ends.near)
  expect((await cut)[0]).toMatchObject({ code: 'ECONNRESET' })
  expect(received).toBeLessThan(size)
  await gone(ends)
})

test('to cut what is cut has no effect', async () => {
  await using ends = await connected()
  cutConnection(ends.near)
  cutConnection(ends.near)
  await gone(ends)
  cutConnection(ends.near)
})
