import { HttpPeer } from '@cirque/core'
import { Agent } from 'undici'
import { describe, expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { ask, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream, startUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

/** A proxy whose peers are carried by an undici agent. */
async function carried(address: string | (() => string), app: Partial<ProxyHttp> = {}, options = {}) {
  const dispatcher = new Agent()
  const proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(typeof address === 'string' ? address : address(), { dispatcher }),
      ...app,
    },
    options,
  )
  return {
    ...proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await dispatcher.destroy()
    },
  }
}

describe('a peer that a dispatcher carries', () => {
  test.each([
    ['GET', get(), ''],
    ['a body with a length', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nthe body', 'the body'],
    [
      'a chunked body',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n0\r\n\r\n',
      'the',
    ],
  ])('%s', async (_name, bytes, body) => {
    await using upstream = await startUpstream((request, response) => request.pipe(response))
    await using proxy = await carried(upstream.address)
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 3; i++) expect((await client.write(bytes).response()).body).toBe(body)
    expect(upstream.requests[0]?.headers.host).toBe('a')
  })

  test('bodies of 5 MiB both ways, filters included', async () => {
    await using upstream = await startUpstream((request, response) => request.pipe(response))
    const later = () => new Promise<undefined>((resolve) => setImmediate(resolve, undefined))
    await using proxy = await carried(upstream.address, {
      requestBodyFilter: later,
      responseBodyFilter: later,
    })
    const body = 'abcdefghij'.repeat(524_288)
    const reply = await ask(
      proxy.port,
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    expect(reply.body.length).toBe(body.length)
    expect(reply.body).toBe(body)
  })

  test('a client that leaves aborts the request', async () => {
    let aborted = false
    await using upstream = await startUpstream((request, response) => {
      request.on('close', () => {
        aborted = true
      })
      response.write('begun')
    })
    await using proxy = await carried(upstream.address)
    await using client = new RawClient(proxy.port)
    client.write(get())
    await client.take('begun')
    client.socket.resetAndDestroy()
    await proxy.idle()
    await until(() => aborted, 'the origin sees no abort')
  })

  test('a slow client holds the origin back', async () => {
    const size = 64 * 1_048_576
    let flushed = false
    await using upstream = await startUpstream((_request, response) => {
      response.end(Buffer.alloc(size), () => {
        flushed = true
      })
    })
    await using proxy = await carried(upstream.address)
    await using client = new RawClient(proxy.port)
    client.socket.pause()
    client.write(get())
    await until(() => upstream.requests.length > 0, 'nothing arrived')
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(flushed).toBe(false)
  })

  test('that cannot be reached is tried elsewhere when errorWhileProxy allows it', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    const addresses = [await deadAddress(), upstream.address]
    let calls = 0
    await using proxy = await carried(() => addresses[calls++] as string, {
      errorWhileProxy(_session, _peer, error) {
        error.retry = 'allowed'
      },
    })
    expect((await ask(proxy.port, get())).body).toBe('hello')
  })

  test.each([
    ['closes at once', ''],
    ['breaks off', 'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\npart'],
  ])('that %s is 502 or a cut', async (_name, bytes) => {
    await using upstream = await startRawUpstream((socket) => socket.once('data', () => socket.end(bytes)))
    await using proxy = await carried(upstream.address)
    const reply = ask(proxy.port, get())
    if (bytes === '') expect((await reply).status).toBe(502)
    else await expect(reply).rejects.toThrow('cut')
    expect(proxy.proxy.stats().active).toBe(0)
  })
})

test.each(['at once', 'later'])(
  'a peer with TLS settings that are no such thing fails its request alone, %s',
  async (when) => {
    await using proxy = await startProxy({
      upstreamPeer: () => {
        const peer = new HttpPeer('127.0.0.1:1', { tls: true, sni: 'a', cert: 'nonsense', key: 'nonsense' })
        return when === 'at once' ? peer : Promise.resolve(peer)
      },
    })
    expect((await ask(proxy.port, get())).status).toBeGreaterThanOrEqual(500)
  },
)

test('a retry permission that throws fails its request alone', async () => {
  const dead = await deadAddress()
  const broken = () => {
    throw new Error('the fault')
  }
  const cases = [
    [500, { recordRequest: broken, tryRetry: () => true }],
    [502, { recordRequest: () => undefined, tryRetry: broken }],
  ] as const
  for (const [status, retryBudget] of cases) {
    await using proxy = await startProxy({ upstreamPeer: () => new HttpPeer(dead) }, { retryBudget })
    expect((await ask(proxy.port, get())).status).toBe(status)
    await proxy.idle()
  }
})
