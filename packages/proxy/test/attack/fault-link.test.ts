import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { startRawUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { startFaultLink } from './support/fault-link.ts'

const openSockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap')

// Without this the link itself left a socket, about once in ten thousand exchanges, which looked like one of the proxy's.
test('a link that resets a side in the turn in which it passes an end on leaves no socket behind', async () => {
  {
    const accepted = Promise.withResolvers<Socket>()
    await using origin = await startRawUpstream((socket) => accepted.resolve(socket))
    await using link = await startFaultLink(origin.port, () => ({
      forth: { kind: 'reset', after: 8, ms: 0 },
      back: null,
    }))
    const client = createConnection({ port: link.port, host: '127.0.0.1', allowHalfOpen: true })
    client.on('error', () => undefined).resume()
    client.write('hello')
    const far = await accepted.promise
    await once(far, 'data')
    far.end()
    // Both arrive at the link in one turn: the end that it passes on, and what it resets after.
    setImmediate(() => client.write('the rest'))
    await until(() => far.resume().closed, 'the origin hears of no end')
    client.destroy()
  }
  await until(() => openSockets().length === 0, 'a socket is left')
  expect(openSockets()).toEqual([])
})
