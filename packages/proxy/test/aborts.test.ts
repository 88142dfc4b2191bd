import type { Socket } from 'node:net'
import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startRawUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const unhandled: unknown[] = []
const note = (error: unknown) => void unhandled.push(error)
beforeAll(() => {
  process.on('unhandledRejection', note).on('uncaughtException', note)
})
afterAll(() => {
  process.off('unhandledRejection', note).off('uncaughtException', note)
  expect(unhandled).toEqual([])
})

const BIG = 'y'.repeat(400_000)
const REQUESTS = {
  GET: get(),
  'PUT with a length': `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n${'x'.repeat(40)}`,
  'PUT in chunks': `PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${'x'.repeat(20)}\r\n14\r\n${'x'.repeat(20)}\r\n0\r\n\r\n`,
  'a large POST': `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${BIG.length}\r\n\r\n${BIG}`,
}
const RESPONSES = {
  'with a length': `HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n${'z'.repeat(40)}`,
  'in chunks': `HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n${'z'.repeat(20)}\r\n14\r\n${'z'.repeat(20)}\r\n0\r\n\r\n`,
  'until the end': `HTTP/1.1 200 OK\r\n\r\n${'z'.repeat(40)}`,
  large: `HTTP/1.1 200 OK\r\nContent-Length: ${BIG.length}\r\n\r\n${BIG}`,
}
const slow = () => new Promise<undefined>((resolve) => setTimeout(resolve, 2, undefined))
const APPS: Record<string, Partial<ProxyHttp>> = {
  'without filters': {},
  'with slow filters': {
    requestFilter: slow,
    upstreamRequestFilter: slow,
    requestBodyFilter: slow,
    upstreamResponseFilter: slow,
    responseFilter: slow,
    responseBodyFilter: slow,
    failToProxy: slow,
  },
}

/** Numbers that are the same in each run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

function end(socket: Socket, how: string): void {
  if (how === 'reset') socket.resetAndDestroy()
  else if (how === 'end') socket.end()
  else socket.destroy()
}

const WAYS = ['reset', 'end', 'destroy'] as const

describe.each(Object.keys(APPS))('%s', (appName) => {
  describe.each(Object.entries(REQUESTS))('%s', (_requestName, request) => {
    test('a client that goes at any byte leaves nothing behind', async () => {
      const next = random(11)
      await using upstream = await startRawUpstream((socket) => {
        socket.on('data', () => undefined)
        socket.on('end', () => socket.end())
      })
      const errors: (ProxyError | undefined)[] = []
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        logging: (_session, error) => void errors.push(error),
        ...APPS[appName],
      })
      for (let round = 0; round < 12; round++) {
        const client = new RawClient(proxy.port)
        const cut = round === 0 ? request.length : Math.floor(next() * Math.min(request.length, 200))
        client.write(request.slice(0, cut))
        if (next() < 0.6) await new Promise((resolve) => setTimeout(resolve, next() * 8))
        end(client.socket, WAYS[round % 3] as string)
        await proxy.idle()
        client.socket.destroy()
      }
      await until(() => proxy.proxy.serverApp.stats().connections === 0, 'a client’s connection is left')
      await proxy.idle()
      expect(proxy.proxy.connector.stats().open).toBe(0)
      expect(errors.length).toBe(proxy.proxy.stats().requests)
      for (const error of errors) expect(error?.source).toBe('downstream')
      await until(() => upstream.connections.open === 0, 'the origin sees no abort')
    })

    test.each(Object.entries(RESPONSES))(
      'an upstream that goes at any byte of a response %s',
      async (name, response) => {
        const next = random(12)
        let cut = 0
        let how = 'reset'
        await using upstream = await startRawUpstream((socket) => {
          socket.once('data', () => {
            socket.write(response.slice(0, cut), () => end(socket, how))
            socket.on('end', () => socket.end())
          })
        })
        const errors: (ProxyError | undefined)[] = []
        await using proxy = await startProxy({
          upstreamPeer: () => new HttpPeer(upstream.address),
          logging: (_session, error) => void errors.push(error),
          ...APPS[appName],
        })
        for (let round = 0; round < 9; round++) {
          cut = round === 0 ? 0 : Math.floor(next() * Math.min(response.length, 180))
          how = WAYS[round % 3] as string
          await using client = new RawClient(proxy.port)
          client.write(request)
          const headEnd = response.indexOf('\r\n\r\n', response.indexOf('200 OK'))
          const whole = name === 'until the end' && cut >= headEnd + 4
          const reply = await client
            .response()
            .then((given) => (given.status === 103 ? client.response() : given))
            .catch(() => undefined)
          // An answer of our own, or a cut; a clean end only of what ends with the connection.
          if (reply !== undefined && !(whole && reply.status === 200)) expect(reply.status).toBe(502)
          await proxy.idle()
        }
        expect(errors).toHaveLength(9)
        expect(proxy.proxy.connector.stats().open).toBe(0)
      },
    )

    test('a client that goes at any byte of the response leaves nothing behind', async () => {
      const next = random(13)
      await using upstream = await startRawUpstream((socket) => {
        let seen = 0
        socket.on('data', (data) => {
          seen += data.length
          if (seen < request.length) return
          seen = 0
          socket.write(RESPONSES.large)
        })
        socket.on('end', () => socket.end())
      })
      let logged = 0
      await using proxy = await startProxy({
        upstreamPeer: () => new HttpPeer(upstream.address),
        logging: () => void logged++,
        ...APPS[appName],
      })
      for (let round = 0; round < 9; round++) {
        await using client = new RawClient(proxy.port)
        const wanted = Math.floor(next() * 100_000)
        client.write(request)
        await until(() => client.received.length >= wanted || client.ended, 'no response')
        client.socket.pause()
        end(client.socket, WAYS[round % 3] as string)
        await proxy.idle()
      }
      expect(logged).toBe(9)
      await until(
        () => upstream.connections.open === proxy.proxy.connector.stats().idle,
        'the origin sees no abort',
      )
    })
  })
})
