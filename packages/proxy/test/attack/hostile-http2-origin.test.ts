import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import {
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  PING,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
} from '../../../../scripts/test-support/http2-frames.ts'
import type { ProxyHttp } from '../../src/index.ts'
import { startProxy } from '../support/proxy.ts'
import { startRawUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { H2Peer, valuesOf } from './support/h2-wire.ts'
import { type Answer, ask } from './support/one-request.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { taggedBody } from './support/tagged-origin.ts'

expectNoProcessFaults()

const RUNS = runCount(300)
const AT_ONCE = 12
const BODY_BYTES = 240

/** What a client may get: its whole response, an error of the proxy, a response that is visibly cut. */
type Outcome = 'answer' | 'error' | 'cut'

interface Trick {
  readonly gives: readonly Outcome[]
  /** The connection may end with it, and with it what others had under way. */
  readonly fatal: boolean
  readonly play: (peer: H2Peer, stream: number, id: string) => void
}

const ok = (id: string, ...more: readonly string[]) => [':status', '200', 'x-tag', id, ...more]
const text = (bytes: string) => Buffer.from(bytes, 'latin1')
const poison = text('poison')

function fair(peer: H2Peer, stream: number, id: string): void {
  peer.headers(stream, ok(id), false)
  peer.data(stream, taggedBody(id, BODY_BYTES), true)
}

/** Harms nobody but its own stream. */
function bad(play: Trick['play'], ...gives: readonly Outcome[]): Trick {
  return { gives, fatal: false, play }
}

/** Ends the connection, if the proxy takes it as it may. */
function fatal(play: Trick['play'], ...gives: readonly Outcome[]): Trick {
  return { gives: [...gives, 'error', 'cut'], fatal: true, play }
}

const head = (...fields: readonly string[]) =>
  bad((peer, stream) => peer.headers(stream, block(fields), true), 'error')
const framed = (...fields: readonly string[]) =>
  bad((peer, stream, id) => {
    peer.headers(stream, ok(id, ...fields), false)
    peer.data(stream, taggedBody(id, 5), true)
  }, 'error')

const TRICKS: Record<string, Trick> = {
  'no status': head('x', 'y'),
  'two statuses': head(':status', '200', ':status', '200'),
  'a request’s fields': head(':method', 'GET', ':path', '/', ':scheme', 'http'),
  'a status behind a field': head('x', 'y', ':status', '200'),
  'status 99': head(':status', '99'),
  'status 600': head(':status', '600'),
  'status 2000': head(':status', '2000'),
  'status 20': head(':status', '20'),
  'status +200': head(':status', '+200'),
  'status 101': head(':status', '101'),
  'an unknown pseudo-field': head(':status', '200', ':foo', 'y'),
  'upper case': framed('X-Upper', 'y'),
  'transfer-encoding': framed('transfer-encoding', 'chunked'),
  connection: framed('connection', 'close'),
  'keep-alive': framed('keep-alive', '5'),
  upgrade: framed('upgrade', 'x'),
  'two lengths': framed('content-length', '5', 'content-length', '6'),
  'a list of lengths': framed('content-length', '5, 5'),
  'a signed length': framed('content-length', '+5'),
  'a name with a colon': framed('x:y', 'z'),
  'a name with a line end': framed('x\r\ny', 'z'),
  'a value with a line end': framed('x', 'y\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 poison'),
  'a value with a NUL': framed('x', 'y\0'),
  'less than its length': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id, 'content-length', '10'), false)
      peer.data(stream, taggedBody(id, 5), true)
    },
    'cut',
    'error',
  ),
  'more than its length': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id, 'content-length', '5'), false)
      peer.data(stream, `${taggedBody(id, 5)}poison`, true)
    },
    'cut',
    'error',
    'answer',
  ),
  'no body for its length': bad(
    (peer, stream, id) => peer.headers(stream, ok(id, 'content-length', '5'), true),
    'cut',
    'error',
  ),
  'a 1xx that ends the stream': bad(
    (peer, stream) => peer.headers(stream, [':status', '103'], true),
    'error',
  ),
  'data behind a 1xx': bad((peer, stream, id) => {
    peer.headers(stream, [':status', '103', 'x-tag', id], false)
    peer.send(frame(DATA, END_STREAM, stream, poison))
  }, 'error'),
  'more 1xx than are allowed': bad((peer, stream) => {
    for (let i = 0; i < 17; i++) peer.headers(stream, [':status', '103'], false)
  }, 'error'),
  'data before the head': bad((peer, stream) => peer.send(frame(DATA, END_STREAM, stream, poison)), 'error'),
  'trailers that do not end': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id), false)
      peer.headers(stream, ['x-trailer', 't'], false)
    },
    'cut',
    'error',
  ),
  'trailers with a status': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id), false)
      peer.headers(stream, [':status', '200'], true)
    },
    'cut',
    'error',
  ),
  'nothing at all': bad(() => undefined, 'error'),
  'half a body': bad((peer, stream, id) => {
    peer.headers(stream, ok(id), false)
    peer.data(stream, taggedBody(id, 20), false)
  }, 'cut'),
  'a reset at once': bad((peer, stream) => peer.reset(stream, 8), 'error'),
  'a reset without an error at once': bad((peer, stream) => peer.reset(stream, 0), 'error'),
  'a reset in the body': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id), false)
      peer.data(stream, taggedBody(id, 20), false)
      peer.reset(stream, 2)
    },
    'cut',
    'error',
  ),
  'a reset without an error in the body': bad(
    (peer, stream, id) => {
      peer.headers(stream, ok(id), false)
      peer.data(stream, taggedBody(id, 20), false)
      peer.reset(stream, 0)
    },
    'cut',
    'error',
  ),
  'a reset behind the response': bad(
    (peer, stream, id) => {
      fair(peer, stream, id)
      peer.reset(stream, 2)
    },
    'answer',
    'cut',
    'error',
  ),
  'data behind the end': fatal((peer, stream, id) => {
    fair(peer, stream, id)
    peer.send(frame(DATA, END_STREAM, stream, poison))
  }, 'answer'),
  'another head behind the end': fatal((peer, stream, id) => {
    fair(peer, stream, id)
    peer.headers(stream, ok('poison'), true)
  }, 'answer'),
  'a response to nothing': fatal((peer, stream, id) => {
    peer.headers(stream + 1_000, ok('poison'), true)
    fair(peer, stream, id)
  }, 'answer'),
  'a stream of its own': fatal((peer, stream, id) => {
    peer.headers(2, ok('poison'), true)
    fair(peer, stream, id)
  }, 'answer'),
  'a push': fatal((peer, stream, id) => {
    peer.send(
      frame(
        PUSH_PROMISE,
        END_HEADERS,
        stream,
        Buffer.concat([
          uint32(2),
          block([':method', 'GET', ':path', '/', ':scheme', 'http', ':authority', 'a']),
        ]),
      ),
    )
    peer.headers(2, ok('poison'), true)
    fair(peer, stream, id)
  }, 'answer'),
  'fields that cannot be decoded': fatal((peer, stream) =>
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, text('\xff\xff\xff\xff\xff'))),
  ),
  'an index beyond the table': fatal((peer, stream) =>
    peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, text('\xfe\x7f'))),
  ),
  'a head in two halves with data between': fatal((peer, stream, id) => {
    const fields = block(ok(id))
    peer.send(frame(HEADERS, 0, stream, fields.subarray(0, 5)), frame(DATA, END_STREAM, stream, poison))
    peer.send(frame(CONTINUATION, END_HEADERS, stream, fields.subarray(5)))
  }),
  'a head without end': fatal((peer, stream) => {
    peer.send(frame(HEADERS, 0, stream, block(ok('x'))))
    for (let i = 0; i < 200; i++) peer.send(frame(CONTINUATION, 0, stream, block(['x', 'y'.repeat(1_000)])))
  }),
  'a head of many fields': bad(
    (peer, stream, id) => peer.headers(stream, block([...ok(id), ...Array(2_000).fill('x')]), true),
    'error',
  ),
  'a window beyond all bounds': fatal((peer, stream, id) => {
    peer.send(frame(WINDOW_UPDATE, 0, 0, uint32(0x7fffffff)))
    fair(peer, stream, id)
  }, 'answer'),
  'a window of nothing': fatal((peer, stream, id) => {
    peer.send(frame(WINDOW_UPDATE, 0, 0, uint32(0)))
    fair(peer, stream, id)
  }, 'answer'),
  'settings of odd length': fatal((peer, stream, id) => {
    peer.send(frame(SETTINGS, 0, 0, text('12345')))
    fair(peer, stream, id)
  }, 'answer'),
  'a short ping': fatal((peer, stream, id) => {
    peer.send(frame(PING, 0, 0, text('123')))
    fair(peer, stream, id)
  }, 'answer'),
  'a reset of nothing': fatal((peer, stream, id) => {
    peer.send(frame(RST_STREAM, 0, stream + 2_000, uint32(8)))
    fair(peer, stream, id)
  }, 'answer'),
  'a frame that is too long': fatal((peer, stream, id) => {
    peer.send(frame(DATA, 0, stream, Buffer.alloc(20_000)))
    fair(peer, stream, id)
  }),
  'more than the window': fatal((peer, stream, id) => {
    peer.headers(stream, ok(id), false)
    for (let i = 0; i < 200; i++)
      peer.send(frame(DATA, 0, stream, text(taggedBody(id, 16_380 - (16_380 % (id.length + 1))))))
  }),
  'GOAWAY below the stream': fatal((peer, stream) => {
    peer.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(Math.max(0, stream - 2)), uint32(0)])))
  }, 'answer'),
  'GOAWAY behind the response': fatal((peer, stream, id) => {
    peer.send(frame(GOAWAY, 0, 0, Buffer.concat([uint32(0x7fffffff), uint32(0)])))
    fair(peer, stream, id)
  }, 'answer'),
  'an end at once': fatal((peer) => void peer.socket.end(), 'answer'),
  'a cut at once': fatal((peer) => void peer.socket.destroy(), 'answer'),
  'HTTP/1': fatal((peer) => peer.send(text('HTTP/1.1 200 poison\r\nContent-Length: 6\r\n\r\npoison'))),
}
const NAMES = Object.keys(TRICKS)

/** Plays the trick that the target names; `/…?fair` gets a whole response. */
function startTrickster() {
  return startRawUpstream((socket) => {
    socket.setNoDelay(true)
    const peer: H2Peer = new H2Peer(
      socket,
      'server',
      {
        onHead(stream, fields) {
          const [, id = '', index = ''] = /^\/(\w+)\?(\w+)$/.exec(valuesOf(fields, ':path')[0] ?? '') ?? []
          if (index === 'fair') fair(peer, stream.id, id)
          else TRICKS[NAMES[Number(index)] as string]?.play(peer, stream.id, id)
        },
      },
      settings([3, 100]),
    )
    socket.on('end', () => socket.end())
  })
}

function outcome({ status, tag, body, complete, received }: Answer, id: string): Outcome {
  expect(received).not.toContain('poison')
  if (status === 0) return 'cut'
  if (tag !== id) {
    expect(tag).toBeUndefined()
    expect([502, 504]).toContain(status)
    expect(body).toBe('')
    return 'error'
  }
  expect(taggedBody(id, Math.max(BODY_BYTES, body.length)).startsWith(body)).toBe(true)
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
  'clients of HTTP/%i, %s: no trick of an HTTP/2 origin reaches another client, and each exchange ends as it should',
  async (version, name) => {
    await using upstream = await startTrickster()
    let logged = 0
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(upstream.address, { httpVersion: 2, readTimeoutMs: 1_000 }),
        logging: () => void logged++,
        ...APPS[name],
      },
      { retryBudget: false, server: { h2c: true } },
    )
    const play = async (seed: number) => {
      const dice = new Dice(seed)
      const id = `h${seed}`
      const trick = seed < NAMES.length ? seed : dice.integer(0, NAMES.length - 1)
      const isFair = seed >= NAMES.length && dice.chance(0.5)
      const what = NAMES[trick] as string
      // A fair response may share its connection with a trick that ends it.
      const got = outcome(await ask(version, proxy.port, `/${id}?${isFair ? 'fair' : trick}`, what), id)
      if (isFair) expect(['answer', 'error', 'cut']).toContain(got)
      else if ((TRICKS[what] as Trick).gives.includes(got)) return
      else expect(['error', 'cut'], `${what} gave ${got}`).toContain(got)
    }
    let next = 0
    const worker = async () => {
      while (next < RUNS) await play(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await proxy.idle()
    expect(logged).toBe(RUNS)
    await until(() => upstream.connections.open === proxy.proxy.connector.stats().open, 'connections differ')
  },
  runTimeout(300),
)

test('a stream that breaks leaves the others of its connection alone', async () => {
  await using upstream = await startTrickster()
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(upstream.address, { httpVersion: 2, readTimeoutMs: 1_000 }) },
    { retryBudget: false, maxRetries: 1 },
  )
  const get = async (id: string, what: string) =>
    outcome(await ask(1, proxy.port, `/${id}?${what}`, what), id)
  for (const [index, what] of NAMES.entries()) {
    // What is silent may be dead: new requests go elsewhere then.
    if ((TRICKS[what] as Trick).fatal || what === 'nothing at all' || what === 'half a body') continue
    const got = await Promise.all([
      get(`a${index}`, 'fair'),
      get(`b${index}`, String(index)),
      get(`c${index}`, 'fair'),
    ])
    expect([got[0], got[2]], what).toEqual(['answer', 'answer'])
    expect((TRICKS[what] as Trick).gives, what).toContain(got[1])
  }
  expect(upstream.connections.accepted).toBe(1)
})
