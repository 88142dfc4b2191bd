import type { Socket } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { get, RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { startRawUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'

expectNoProcessFaults()

/** A tunnel that stands: both of its ends, and what the origin's end has met. */
async function startTunnel() {
  const met: string[] = []
  let far: Socket | undefined
  const upstream = await startRawUpstream((socket) => {
    far = socket
    socket.on('end', () => met.push('end'))
    socket.on('error', ({ message }) => met.push(message))
    socket.on('data', (data) => {
      if (data.includes('HTTP/1.1')) {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello')
      } else met.push(data.toString('latin1'))
    })
  })
  const proxy = await startProxy({ upstreamPeer: () => new HttpPeer(upstream.address) })
  const client = new RawClient(proxy.port)
  client.write(get('/', 'Connection: upgrade', 'Upgrade: x'))
  await client.take('hello')
  return {
    client,
    far: far as Socket,
    met,
    proxy,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

test('an origin that resets a tunnel: the client cannot take it for an orderly end', async () => {
  await using tunnel = await startTunnel()
  tunnel.far.resetAndDestroy()
  await until(() => tunnel.client.closed, 'the client hears nothing')
  expect([tunnel.client.ended, tunnel.client.error?.message]).toEqual([false, 'read ECONNRESET'])
  await tunnel.proxy.idle()
})

test('a client that resets a tunnel: the origin cannot take it for an orderly end', async () => {
  await using tunnel = await startTunnel()
  tunnel.client.write('half')
  await until(() => tunnel.met.length > 0, 'the tunnel carries nothing')
  tunnel.client.socket.resetAndDestroy()
  await until(() => tunnel.met.length > 1, 'the origin hears nothing')
  expect(tunnel.met).toEqual(['half', 'read ECONNRESET'])
  await tunnel.proxy.idle()
})

test('an orderly end stays one, on either side', async () => {
  await using tunnel = await startTunnel()
  tunnel.client.socket.end('last')
  await until(() => tunnel.met.includes('end'), 'the origin hears nothing')
  expect(tunnel.met).toEqual(['last', 'end'])
  tunnel.far.end('bye')
  await tunnel.client.end()
  expect([tunnel.client.received, tunnel.client.error]).toEqual(['bye', null])
  await tunnel.proxy.idle()
})
