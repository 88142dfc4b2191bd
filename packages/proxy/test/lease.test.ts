import { HttpPeer, type PeerOutcome } from '@cirque/core'
import { expect, test } from 'vitest'
import { ask, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startUpstream } from './support/upstream.ts'

function leases(addresses: readonly string[]) {
  const outcomes: (PeerOutcome | undefined)[] = []
  let taken = 0
  const acquire = () => {
    let held = true
    return {
      address: addresses[Math.min(taken++, addresses.length - 1)] as string,
      release(outcome?: PeerOutcome) {
        expect(held).toBe(true)
        held = false
        outcomes.push(outcome)
      },
    }
  }
  return { outcomes, acquire, taken: () => taken }
}

test('a lease is released once, with what the upstream did', async () => {
  await using upstream = await startUpstream((request, response) =>
    response.writeHead(Number(request.url?.slice(1))).end('x'),
  )
  const { outcomes, acquire } = leases([upstream.address])
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(acquire()) })
  for (const status of [200, 404, 500, 503]) await ask(proxy.port, get(`/${status}`))
  await proxy.idle()
  expect(outcomes.map((outcome) => outcome?.ok)).toEqual([true, true, true, false])
  expect(outcomes.every((outcome) => (outcome?.latencyMs ?? -1) >= 0)).toBe(true)
})

test('each attempt has its own lease, and a failed connect counts against its backend', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('hello'))
  const { outcomes, acquire, taken } = leases([await deadAddress(), upstream.address])
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(acquire()) })
  expect((await ask(proxy.port, get())).body).toBe('hello')
  await proxy.idle()
  expect(taken()).toBe(2)
  expect(outcomes).toMatchObject([{ ok: false, source: 'upstream' }, { ok: true }])
})

test('a dead backend that is chosen again is given back at once, without blame', async () => {
  await using upstream = await startUpstream((_request, response) => response.end('hello'))
  const dead = await deadAddress()
  const { outcomes, acquire } = leases([dead, dead, upstream.address])
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(acquire()) })
  expect((await ask(proxy.port, get())).body).toBe('hello')
  await proxy.idle()
  expect(outcomes.map((outcome) => [outcome?.ok, outcome?.source])).toEqual([
    [false, 'upstream'],
    [false, 'internal'],
    [true, 'upstream'],
  ])
})

test('a client that leaves never counts against the backend', async () => {
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  await using upstream = await startRawUpstream((socket) => {
    socket.on('data', () => resolve())
    socket.on('end', () => socket.end())
  })
  const { outcomes, acquire } = leases([upstream.address])
  await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(acquire()) })
  {
    await using client = new RawClient(proxy.port)
    client.write(get())
    await reached
  }
  await proxy.idle()
  expect(outcomes).toMatchObject([{ ok: false, source: 'downstream' }])
})
