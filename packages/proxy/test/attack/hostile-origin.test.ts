import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../../src/index.ts'
import { get, RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { startRawUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { type Answer, ask } from './support/one-request.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { RequestReader } from './support/readers.ts'
import { taggedBody } from './support/tagged-origin.ts'

expectNoProcessFaults()

const RUNS = runCount(500)
const AT_ONCE = 16
const BODY_BYTES = 240

/** What a client may get: its whole response, an error of the proxy, a response that is visibly cut. */
type Outcome = 'answer' | 'error' | 'cut'

interface Trick {
  readonly gives: readonly Outcome[]
  readonly play: (socket: Socket, id: string) => void
}

const whole = (id: string) =>
  `HTTP/1.1 200 ${id}\r\nContent-Length: ${BODY_BYTES}\r\n\r\n${taggedBody(id, BODY_BYTES)}`
const poison = 'HTTP/1.1 200 poison\r\nContent-Length: 6\r\n\r\npoison'
/** Says just this. */
function says(text: (id: string) => string, ...gives: Trick['gives']): Trick {
  return { gives, play: (socket, id) => void socket.write(text(id), 'latin1') }
}
/** Says this, and goes in one of three ways. */
function goes(
  how: 'end' | 'destroy' | 'reset',
  text: (id: string) => string,
  ...gives: Trick['gives']
): Trick {
  return {
    gives,
    play(socket, id) {
      socket.write(text(id), 'latin1', () => {
        if (how === 'end') socket.end()
        else if (how === 'destroy') socket.destroy()
        else socket.resetAndDestroy()
      })
    },
  }
}
const framed = (fields: string) =>
  says((id) => `HTTP/1.1 200 ${id}\r\n${fields}\r\n${taggedBody(id, 5)}`, 'error')
const head = (line: string) => says((id) => `${line}\r\nX: ${id}\r\nContent-Length: 0\r\n\r\n`, 'error')
const chunks = (text: string) =>
  says((id) => `HTTP/1.1 200 ${id}\r\nTransfer-Encoding: chunked\r\n\r\n${text}${poison}`, 'cut', 'error')

const TRICKS: Record<string, Trick> = {
  surplus: says((id) => whole(id) + poison, 'answer'),
  'surplus, one byte': says((id) => `${whole(id)}\0`, 'answer'),
  'surplus behind 204': says((id) => `HTTP/1.1 204 ${id}\r\n\r\n${poison}`, 'answer'),
  'surplus behind 304': says((id) => `HTTP/1.1 304 ${id}\r\nContent-Length: 9\r\n\r\n${poison}`, 'answer'),
  'surplus behind chunks': says(
    (id) => `HTTP/1.1 200 ${id}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${poison}`,
    'answer',
  ),
  'a body behind Content-Length: 0': says(
    (id) => `HTTP/1.1 200 ${id}\r\nContent-Length: 0\r\n\r\n${poison}`,
    'answer',
  ),
  'two framings': framed('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'),
  'two lengths': framed('Content-Length: 5\r\nContent-Length: 6\r\n'),
  'a list of lengths': framed('Content-Length: 5, 5\r\n'),
  'a negative length': framed('Content-Length: -5\r\n'),
  'a signed length': framed('Content-Length: +5\r\n'),
  'an unknown coding': framed('Transfer-Encoding: gzip, chunked\r\n'),
  'a space before the colon': framed('Content-Length : 5\r\n'),
  'a folded line': framed('X: y\r\n Content-Length: 5\r\n'),
  'a bare LF': framed('X: y\nContent-Length: 5\r\n'),
  'a bare CR': framed('X: y\rContent-Length: 5\r\n'),
  'a NUL': framed('X: \0\r\nContent-Length: 5\r\n'),
  'no name': framed(': x\r\nContent-Length: 5\r\n'),
  'status 99': head('HTTP/1.1 099 No'),
  'status 1000': head('HTTP/1.1 1000 No'),
  'status 600': head('HTTP/1.1 600 No'),
  'HTTP/2.0': head('HTTP/2.0 200 OK'),
  ICY: head('ICY 200 OK'),
  'no status line': head('hello'),
  TLS: says(() => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'error'),
  '101 unasked': says(() => `HTTP/1.1 101 No\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${poison}`, 'error'),
  'more 1xx than are allowed': says(() => 'HTTP/1.1 103 No\r\n\r\n'.repeat(17) + poison, 'error'),
  'as many 1xx as are allowed': says((id) => `HTTP/1.1 103 ${id}\r\n\r\n`.repeat(16) + whole(id), 'answer'),
  '1xx with a length': says(
    (id) => `HTTP/1.1 103 ${id}\r\nContent-Length: 5\r\n\r\n${whole(id)}`,
    'answer',
    'error',
  ),
  'a head without end': says((id) => `HTTP/1.1 200 ${id}\r\n${'X: y\r\n'.repeat(20_000)}`, 'error'),
  'a field without end': says((id) => `HTTP/1.1 200 ${id}\r\nX: ${'y'.repeat(100_000)}`, 'error'),
  'too many fields': says((id) => `HTTP/1.1 200 ${id}\r\n${'X: y\r\n'.repeat(257)}\r\n`, 'error'),
  'nothing at all': says(() => '', 'error'),
  'half a head': says((id) => whole(id).slice(0, 20), 'error'),
  'half a body': says((id) => whole(id).slice(0, -9), 'cut'),
  'end at once': goes('end', () => '', 'error'),
  'close at once': goes('destroy', () => '', 'error'),
  'reset at once': goes('reset', () => '', 'error'),
  'end in the head': goes('end', (id) => whole(id).slice(0, 20), 'error'),
  'reset in the head': goes('reset', (id) => whole(id).slice(0, 20), 'error'),
  'end in the body': goes('end', (id) => whole(id).slice(0, -9), 'cut'),
  'reset in the body': goes('reset', (id) => whole(id).slice(0, -9), 'cut', 'error'),
  'end behind 103': goes('end', (id) => `HTTP/1.1 103 ${id}\r\n\r\n`, 'error'),
  'end in chunks': goes(
    'end',
    (id) => `HTTP/1.1 200 ${id}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n${taggedBody(id, 5)}\r\n`,
    'cut',
  ),
  'end behind the response': goes('end', whole, 'answer'),
  'reset behind the response': goes('reset', whole, 'answer', 'cut', 'error'),
  'until the end': goes('end', (id) => `HTTP/1.1 200 ${id}\r\n\r\n${taggedBody(id, BODY_BYTES)}`, 'answer'),
  'until the reset': goes('reset', (id) => `HTTP/1.1 200 ${id}\r\n\r\n${taggedBody(id, 90)}`, 'cut', 'error'),
  'HTTP/1.0': goes('end', (id) => `HTTP/1.0 200 ${id}\r\n\r\n${taggedBody(id, BODY_BYTES)}`, 'answer'),
  'HTTP/1.0 with chunks': says(
    (id) => `HTTP/1.0 200 ${id}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'error',
  ),
  'a chunk size with a sign': chunks('+5\r\n12345\r\n0\r\n\r\n'),
  'a chunk that is too long': chunks('5\r\n123456\r\n0\r\n\r\n'),
  'a chunk size beyond all bounds': chunks('FFFFFFFFFFFFFFFFF\r\n'),
  'a chunk ended by LF': chunks('5\n12345\n0\n\n'),
  'a forbidden trailer': chunks('0\r\nContent-Length: 5\r\n\r\n'),
  'byte by byte': {
    gives: ['answer'],
    play(socket, id) {
      const bytes = Buffer.from(whole(id))
      const drip = (at: number) => {
        if (at < bytes.length && socket.writable) {
          socket.write(bytes.subarray(at, at + 1))
          setImmediate(drip, at + 1)
        }
      }
      drip(0)
    },
  },
}
const NAMES = Object.keys(TRICKS)

/** Plays the trick that the target names; `/…?fair` gets a whole response. */
function startTrickster() {
  return startRawUpstream((socket) => {
    const reader = new RequestReader(
      () => undefined,
      ({ target }) => {
        const [, id = '', index = ''] = /^\/(\w+)\?(\w+)$/.exec(target) ?? []
        if (index === 'fair') socket.write(whole(id))
        else TRICKS[NAMES[Number(index)] as string]?.play(socket, id)
      },
    )
    socket.on('data', (data) => reader.feed(data.toString('latin1')))
    socket.on('end', () => socket.end())
  })
}

function outcome({ status, reason, body, complete }: Answer, version: 1 | 2, id: string): Outcome {
  if (status === 0) return 'cut'
  expect(body).not.toContain('poison')
  // HTTP/2 has no reason: there the bytes of a body alone say whose it is.
  if (version === 1 ? reason !== id : status >= 500) {
    expect([502, 504]).toContain(status)
    expect(body).toBe('')
    return 'error'
  }
  expect(taggedBody(id, BODY_BYTES).startsWith(body.replaceAll('12345', ''))).toBe(true)
  return complete ? 'answer' : 'cut'
}

const APPS: Record<string, Partial<ProxyHttp>> = {
  'as it comes': {},
  'with filters that wait': {
    upstreamResponseFilter: async () => undefined,
    responseFilter: () => new Promise((resolve) => setTimeout(resolve, 1)),
    responseBodyFilter: async () => undefined,
  },
}

test.each(Object.keys(APPS).flatMap((name) => [[1, name] as const, [2, name] as const]))(
  'clients of HTTP/%i, %s: no trick of an origin reaches another client, and each exchange ends as it should',
  async (version, name) => {
    await using upstream = await startTrickster()
    let logged = 0
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(upstream.address, { readTimeoutMs: 1_000 }),
        logging: () => void logged++,
        ...APPS[name],
      },
      { retryBudget: false, server: { h2c: true } },
    )
    const play = async (seed: number) => {
      const dice = new Dice(seed)
      const id = `h${seed}`
      const trick = seed < NAMES.length ? seed : dice.integer(0, NAMES.length - 1)
      const fair = seed >= NAMES.length && dice.chance(0.5)
      const what = fair ? 'a fair response' : (NAMES[trick] as string)
      const answer = await ask(version, proxy.port, `/${id}?${fair ? 'fair' : trick}`, what)
      const got = outcome(answer, version, id)
      expect(fair ? ['answer'] : TRICKS[what]?.gives, what).toContain(got)
    }
    let next = 0
    const worker = async () => {
      while (next < RUNS) await play(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await proxy.idle()
    expect(logged).toBe(RUNS)
    const { open, idle } = proxy.proxy.connector.stats()
    expect(open).toBe(idle)
    await until(() => upstream.connections.open === proxy.proxy.connector.stats().open, 'connections differ')
  },
  runTimeout(500),
)

test('bytes that an origin sends on its own, at any time between two requests, are nobody’s response', async () => {
  const sockets: Socket[] = []
  let connected = 0
  let poisoned = 0
  await using upstream = await startRawUpstream((socket) => {
    sockets.push(socket)
    // The very first bytes come before any request.
    if (sockets.length % 2 === 1) socket.write(poison, () => void poisoned++)
    socket.on('data', () => socket.write(whole('x')))
    socket.on('end', () => socket.end())
  })
  await using proxy = await startProxy(
    {
      upstreamPeer: () => new HttpPeer(upstream.address),
      async connectedToUpstream() {
        connected++
        // The early bytes are here, and read, before the request is sent.
        await until(
          () => sockets.length === connected && poisoned === Math.ceil(connected / 2),
          'no early bytes',
        )
        await turn()
        await turn()
      },
    },
    { retryBudget: false },
  )
  for (let i = 0; i < 20; i++) {
    await using client = new RawClient(proxy.port)
    client.write(get())
    expect((await client.response()).head).toContain('200 x')
    await proxy.idle()
    for (const socket of sockets) if (socket.writable) socket.write('HTTP/1.1')
    await until(() => proxy.proxy.connector.stats().open === 0, 'a poisoned connection is kept')
  }
  expect(proxy.proxy.connector.stats().unexpectedData).toBeGreaterThanOrEqual(20)
})
