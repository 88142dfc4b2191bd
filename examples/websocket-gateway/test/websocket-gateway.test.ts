import { once } from 'node:events'
import { expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

const UPGRADE = {
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
}

test('WebSockets for the path go to one peer, everything else to the other', async () => {
  await using sockets = await TestUpstream.saying('the sockets’ peer')
  await using rest = await TestUpstream.saying('the other')
  new WebSocketServer({ server: sockets.server }).on('connection', (socket, { url }) => {
    socket.on('message', (data) => socket.send(`${url}: ${data}`))
  })
  const argv = ['--ba', '127.0.0.1:0', '--ws', sockets.address, '--pa', rest.address]
  await using gateway = new ExampleProcess('websocket-gateway', argv)
  const address = await gateway.address()

  const socket = new WebSocket(`ws://${address}/up?x=1`)
  await once(socket, 'open')
  socket.send('hello')
  expect(String((await once(socket, 'message'))[0])).toBe('/up?x=1: hello')

  // The path alone does not do it, and neither does the upgrade; what is asked for must be a WebSocket.
  expect((await request(address, '/up')).body).toBe('the other')
  const other = { headers: { ...UPGRADE, Upgrade: 'h2c' } }
  expect((await request(address, '/up', other)).body).toBe('the other')
  const refused = new WebSocket(`ws://${address}/down`)
  expect(String((await once(refused, 'error'))[0])).toContain('200')
  expect(rest.requestCount).toBe(3)

  socket.close(4_001)
  expect((await once(socket, 'close'))[0]).toBe(4_001)
})

test('a WebSocket that is silent for too long is closed', async () => {
  await using sockets = await TestUpstream.saying('')
  new WebSocketServer({ server: sockets.server })
  const argv = ['--ba', '127.0.0.1:0', '--ws', sockets.address, '--idle', '0.1']
  await using gateway = new ExampleProcess('websocket-gateway', argv)
  const socket = new WebSocket(`ws://${await gateway.address()}/up`)
  await once(socket, 'close')
})
