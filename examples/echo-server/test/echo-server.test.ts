import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'

const argv = ['--tcp', '127.0.0.1:0', '--ba', '127.0.0.1:0', '--ba', '127.0.0.1:0']

async function connect(address: string): Promise<Socket> {
  const [host = '', port] = address.split(':')
  const socket = createConnection({ host, port: Number(port), allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

test('HTTP: tells what arrived, and which address served it', async () => {
  await using echo = new ExampleProcess('echo-server', argv)
  const addresses = [await echo.address('HTTP'), await echo.address('HTTP', 1)]
  for (const address of addresses) {
    const reply = await request(address, '/a?b=c', { headers: { 'X-Mark': 'here' }, body: 'grüezi' })
    expect(reply.headers['content-type']).toBe('application/json')
    expect(JSON.parse(reply.body)).toMatchObject({
      server: address,
      method: 'POST',
      target: '/a?b=c',
      headers: { 'X-Mark': 'here' },
      body: 'grüezi',
    })
  }
  expect(addresses[0]).not.toBe(addresses[1])
  expect(JSON.parse((await request(addresses[0] as string, '/health')).body)).toEqual({ status: 'ok' })
})

test('HTTP: a body above 1 MiB is refused with 413', async () => {
  await using echo = new ExampleProcess('echo-server', argv)
  const address = await echo.address('HTTP')
  expect((await request(address, '/', { body: 'x'.repeat(1_048_576) })).status).toBe(200)
  expect((await request(address, '/', { body: 'x'.repeat(1_048_577) })).status).toBe(413)
})

test('TCP: sends everything back, and ends when the client has ended', async () => {
  await using echo = new ExampleProcess('echo-server', argv)
  const socket = await connect(await echo.address('TCP'))
  const sent = 'all of this comes back\n'.repeat(100_000) // more than the buffers on the way hold
  socket.end(sent)
  expect((await text(socket)) === sent).toBe(true)
})

test('TCP: an open connection does not hold the end up', async () => {
  await using echo = new ExampleProcess('echo-server', argv)
  const socket = await connect(await echo.address('TCP'))
  socket.write('first')
  await once(socket, 'data')
  const ended = once(socket, 'end')
  const { status } = await echo.stop()
  await ended
  socket.destroy()
  expect(status).toBe(0)
})
