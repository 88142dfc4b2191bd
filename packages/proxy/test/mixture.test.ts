import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startRawUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const CLIENTS = 8
const REQUESTS = 25

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** An origin that answers with the request's own id and body, in all framings, and misbehaves now and then. */
function startMoody(next: () => number) {
  return startRawUpstream((socket) => {
    let seen = ''
    socket.on('end', () => socket.end())
    socket.on('data', (data) => {
      seen += data.toString('latin1')
      for (;;) {
        const head = seen.indexOf('\r\n\r\n')
        if (head < 0) return
        const id = / \/(\S+) /.exec(seen)?.[1] as string
        const length = /content-length: (\d+)/i.exec(seen.slice(0, head))?.[1]
        let body: string
        if (length !== undefined) {
          if (seen.length < head + 4 + Number(length)) return
          body = seen.slice(head + 4, head + 4 + Number(length))
          seen = seen.slice(head + 4 + Number(length))
        } else if (/transfer-encoding: chunked/i.test(seen.slice(0, head))) {
          const chunks = /^((?:[1-9a-f][0-9a-f]*\r\n[^\r]*\r\n)*)0\r\n\r\n/i.exec(seen.slice(head + 4))
          if (chunks === null) return
          body = (chunks[1] as string).replaceAll(/[0-9a-f]+\r\n([^\r]*)\r\n/gi, '$1')
          seen = seen.slice(head + 4 + chunks[0].length)
        } else {
          body = ''
          seen = seen.slice(head + 4)
        }
        const answer = `${id}:${body}`
        const mood = next()
        const head200 = `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\n`
        if (mood < 0.05) socket.destroy()
        else if (mood < 0.08)
          socket.write(`${head200}Content-Length: ${answer.length + 9}\r\n\r\n${answer}`, () => socket.end())
        else if (mood < 0.11)
          socket.write(
            `${head200}Content-Length: ${answer.length}\r\n\r\n${answer}HTTP/1.1 200 OK\r\nX-Id: poison\r\nContent-Length: 6\r\n\r\npoison`,
          )
        else if (mood < 0.14) socket.end(`${head200}\r\n${answer}`)
        else if (mood < 0.2)
          socket.write(
            `HTTP/1.1 103 Early Hints\r\nX-Id: ${id}\r\n\r\n${head200}Content-Length: ${answer.length}\r\n\r\n${answer}`,
          )
        else if (mood < 0.5) {
          socket.write(`${head200}Transfer-Encoding: chunked\r\n\r\n${answer.length.toString(16)}\r\n`)
          socket.write(`${answer}\r\n0\r\n\r\n`)
        } else if (mood < 0.55)
          socket.write(`${head200}Content-Length: ${answer.length}\r\n\r\n${answer}`, () => socket.end())
        else socket.write(`${head200}Content-Length: ${answer.length}\r\n\r\n${answer}`)
      }
    })
  })
}

const APPS: Record<string, (next: () => number) => Partial<ProxyHttp>> = {
  'without filters': () => ({}),
  'with filters that wait now and then': (next) => {
    const maybe = () => {
      const chance = next()
      if (chance < 0.6) return undefined
      return new Promise<undefined>((resolve) =>
        chance < 0.9 ? setImmediate(resolve, undefined) : setTimeout(resolve, 3, undefined),
      )
    }
    return {
      requestFilter: maybe,
      connectedToUpstream: maybe,
      upstreamRequestFilter: maybe,
      requestBodyFilter: maybe,
      upstreamResponseFilter: maybe,
      responseFilter: maybe,
      upstreamResponseBodyFilter: maybe,
      responseBodyFilter: maybe,
      failToConnect: maybe,
      failToProxy: maybe,
    }
  },
}

test.each(Object.keys(APPS))(
  '%s: many clients at once, an origin that misbehaves, and nobody gets another’s answer',
  async (name) => {
    const next = random(7)
    await using upstream = await startMoody(next)
    let logged = 0
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(upstream.address),
        logging: () => void logged++,
        errorWhileProxy(_session, _peer, error) {
          if (next() < 0.5) error.retry = 'allowed'
        },
        ...APPS[name]?.(next),
      },
      { retryBudget: false },
    )
    let answered = 0
    const run = async (index: number) => {
      let client = new RawClient(proxy.port)
      for (let i = 0; i < REQUESTS; i++) {
        const id = `${index}-${i}`
        const body = next() < 0.5 ? '' : 'x'.repeat(Math.floor(next() * 40_000))
        const method = next() < 0.5 && body === '' ? 'GET' : next() < 0.5 ? 'PUT' : 'POST'
        const framed =
          body === '' || next() < 0.5
            ? `Content-Length: ${body.length}\r\n\r\n${body}`
            : `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
        client.write(`${method} /${id} HTTP/1.1\r\nHost: a\r\n${method === 'GET' ? '\r\n' : framed}`)
        if (next() < 0.08) {
          client.socket.resetAndDestroy()
          client = new RawClient(proxy.port)
          continue
        }
        try {
          let reply = await client.response()
          while (reply.status === 103) {
            expect(reply.headers['x-id']).toBe(id)
            reply = await client.response()
          }
          if (reply.status === 200) {
            expect(reply.headers['x-id']).toBe(id)
            expect(reply.body === `${id}:${body}`).toBe(true)
            answered++
          } else expect(reply.status).toBe(502)
          if (reply.headers['connection'] !== 'close') continue
        } catch (error) {
          // Cut within a body: the right end of a response that the origin broke off.
          if (!/cut|ended/.test(String(error))) throw error
        }
        client.socket.destroy()
        client = new RawClient(proxy.port)
      }
      client.socket.destroy()
    }
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => run(index)))
    await proxy.idle()
    expect(answered).toBeGreaterThan((CLIENTS * REQUESTS) / 2)
    expect(logged).toBe(proxy.proxy.stats().requests)
    const { open, idle } = proxy.proxy.connector.stats()
    expect(open).toBe(idle)
    await until(() => upstream.connections.open === proxy.proxy.connector.stats().open, 'connections differ')
  },
)
