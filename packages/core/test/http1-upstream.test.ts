import { expect, test } from 'vitest'
import type { ClientSession } from '../src/index.ts'
import { turn } from './support/raw-client.ts'
import {
  answering,
  fetchOver,
  Recorder,
  requestOf,
  send,
  startConnector,
  startUpstream,
} from './support/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** Every framing, and what must come out of it. */
const FRAMINGS: readonly (readonly [name: string, bytes: string, body: string, reusable: boolean])[] = [
  ['Content-Length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello', true],
  ['an empty body', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', '', true],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', '', true],
  ['304 with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', '', true],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n',
    'hello',
    true,
  ],
  [
    'trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n',
    'hello',
    true,
  ],
  [
    '1xx first',
    `HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${OK}`,
    'ok',
    true,
  ],
  ['Connection: close', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok', 'ok', false],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', false],
  [
    'HTTP/1.0 that stays',
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok',
    'ok',
    true,
  ],
]

test.each(FRAMINGS)(
  '%s: the same at every split, and reused only on a message boundary',
  async (_name, bytes, body, reusable) => {
    let cut = 0
    await using upstream = await startUpstream((socket) => {
      socket.on('end', () => socket.end())
      socket.on('data', async () => {
        const at = cut
        if (at > 0) socket.write(bytes.slice(0, at))
        await turn()
        await turn()
        socket.write(bytes.slice(at))
      })
    })
    await using connector = startConnector()
    const peer = upstream.peer()
    for (cut = 0; cut < bytes.length; cut++) {
      const recorder = await fetchOver(connector, peer)
      expect(recorder.error).toBeUndefined()
      expect(recorder.body).toBe(body)
      expect(recorder.trailers).toEqual(bytes.includes('X-Sum') ? ['X-Sum', '1'] : null)
      expect(recorder.informational).toEqual(bytes.includes('103') ? [103, 102] : [])
      expect(connector.stats().idle).toBe(reusable ? 1 : 0)
    }
    expect(upstream.sockets.length).toBe(reusable ? 1 : bytes.length)
  },
)

test('a body until close ends with the connection, at every split', async () => {
  const bytes = 'HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello'
  let cut = 0
  await using upstream = await startUpstream((socket) => {
    socket.on('data', async () => {
      if (cut > 0) socket.write(bytes.slice(0, cut))
      await turn()
      socket.end(bytes.slice(cut))
    })
  })
  await using connector = startConnector()
  for (cut = 0; cut < bytes.length; cut++) {
    const recorder = await fetchOver(connector, upstream.peer())
    expect(recorder.body).toBe('hello')
    expect(recorder.contentLength).toBe(-1)
    expect(connector.stats()).toMatchObject({ idle: 0, open: 0 })
  }
})

test('HEAD has no body, whatever its fields announce', async () => {
  await using upstream = await startUpstream(
    answering(
      'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      OK,
    ),
  )
  await using connector = startConnector()
  for (let i = 0; i < 2; i++) {
    const recorder = await fetchOver(connector, upstream.peer(), 'HEAD')
    expect(recorder).toMatchObject({ ended: true, contentLength: 0, bodyBytes: 0 })
  }
  expect((await fetchOver(connector, upstream.peer())).body).toBe('ok')
  expect(upstream.sockets.length).toBe(1)
})

test('what a request looks like on the wire', async () => {
  let wire = ''
  await using upstream = await startUpstream((socket) => {
    socket.on('data', (chunk: Buffer) => {
      wire += chunk.toString('latin1')
      if (wire.endsWith('0\r\nX-Sum: 1\r\n\r\n') || wire.endsWith('abc')) socket.write(OK)
    })
  })
  await using connector = startConnector()
  for (const contentLength of [3, -1]) {
    wire = ''
    const session = await connector.session(upstream.peer())
    const recorder = new Recorder()
    session.handler = recorder
    const header = requestOf('POST', '/x?y', [
      ['Connection', 'close'],
      ['Keep-Alive', 'timeout=1'],
      ['Transfer-Encoding', 'gzip'],
      ['Content-Length', '77'],
      ['Upgrade', 'h2c'],
      ['X-Case', 'Kept'],
    ])
    session.sendHead(header, contentLength, false)
    session.writeBody(Buffer.from('abc'), 0, 3)
    session.endRequest(['X-Sum', '1'])
    await recorder.done
    connector.release(session)
    const framing = contentLength === 3 ? 'Content-Length: 3\r\n' : ''
    const after = contentLength === 3 ? '' : 'Transfer-Encoding: chunked\r\n'
    expect(wire).toBe(
      `POST /x?y HTTP/1.1\r\nHost: a\r\n${framing}X-Case: Kept\r\n${after}\r\n` +
        (contentLength === 3 ? 'abc' : '3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n'),
    )
  }
})

test('a request body that is longer or shorter than announced never reaches the next request', async () => {
  for (const text of ['abcd', 'ab']) {
    let wire = ''
    await using upstream = await startUpstream((socket) => {
      socket.on('data', (chunk: Buffer) => (wire += chunk.toString('latin1')))
    })
    await using connector = startConnector()
    const session = await connector.session(upstream.peer())
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), 3, false)
    session.writeBody(Buffer.from(text), 0, text.length)
    session.endRequest(null)
    await recorder.done
    expect(recorder.error).toMatchObject({ code: 'INTERNAL_ERROR', source: 'internal', retry: 'never' })
    expect(connector.stats().open).toBe(0)
    expect(wire).not.toContain('abcd')
  }
})

test.each([
  ['not HTTP', 'SSH-2.0-x\r\n\r\n', 'INVALID_HTTP_HEADER'],
  [
    'two lengths',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'INVALID_HTTP_HEADER',
  ],
  [
    'length and chunked',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'INVALID_HTTP_HEADER',
  ],
  ['gzip, chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 'INVALID_HTTP_HEADER'],
  ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n', 'INVALID_HTTP_HEADER'],
  ['101 unasked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', 'INVALID_HTTP_HEADER'],
  [
    'a chunk size that is none',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
    'INVALID_CHUNK',
  ],
  [
    'a chunk that is too long',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n',
    'INVALID_CHUNK',
  ],
])('%s fails the exchange and its connection', async (_name, bytes, code) => {
  await using upstream = await startUpstream(answering(bytes))
  await using connector = startConnector()
  const { error } = await fetchOver(connector, upstream.peer())
  expect(error).toMatchObject({ code, source: 'upstream', retry: 'never' })
  expect(connector.stats().open).toBe(0)
})

test('informationalMax holds at n and fails at n + 1', async () => {
  for (const count of [3, 4]) {
    await using upstream = await startUpstream(
      answering(`${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(count)}${OK}`),
    )
    await using connector = startConnector({ informationalMax: 3 })
    const { error, informational } = await fetchOver(connector, upstream.peer())
    expect(informational.length).toBe(3)
    expect(error?.code).toBe(count === 3 ? undefined : 'INVALID_HTTP_HEADER')
  }
})

test('headBytesMax and fieldsMax bound a response’s head', async () => {
  await using upstream = await startUpstream(
    answering(
      `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(5)}\r\n`,
      `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(300)}\r\n\r\n`,
    ),
  )
  await using connector = startConnector({ headBytesMax: 200, fieldsMax: 4 })
  for (let i = 0; i < 2; i++) {
    expect((await fetchOver(connector, upstream.peer())).error?.code).toBe('INVALID_HTTP_HEADER')
  }
})

test('bytes after a response: the response counts, the connection does not', async () => {
  for (const surplus of ['x', OK]) {
    for (const head of [
      OK,
      'HTTP/1.1 204 No Content\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ]) {
      await using upstream = await startUpstream(answering(head + surplus))
      await using connector = startConnector()
      expect((await fetchOver(connector, upstream.peer())).error).toBeUndefined()
      expect(connector.stats()).toMatchObject({ idle: 0, open: 0 })
    }
  }
})

test('a byte on an idle connection destroys it', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer())
  expect(connector.stats().idle).toBe(1)
  upstream.sockets[0]?.write(OK)
  while (connector.stats().open > 0) await turn()
  expect(connector.stats()).toMatchObject({ idle: 0, unexpectedData: 1 })
  expect((await fetchOver(connector, upstream.peer())).body).toBe('ok')
})

test('a response before the request was sent answers nobody', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer())
  const session = connector.acquire(upstream.peer())
  upstream.sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison')
  while (connector.stats().open > 0) await turn()
  expect(connector.stats().unexpectedData).toBe(1)
  if (session === null) throw new Error('No idle connection')
  const { error, body } = await send(session).done
  expect(error).toMatchObject({ code: 'SURPLUS_DATA', source: 'upstream', retry: 'allowed' })
  expect(body).toBe('')
})

test('a connection that is lost between acquisition and request tells whoever sends on it', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer())
  const session = connector.acquire(upstream.peer())
  upstream.sockets[0]?.destroy()
  while (connector.stats().open > 0) await turn()
  if (session === null) throw new Error('No idle connection')
  expect((await send(session).done).error).toMatchObject({ code: 'CONNECTION_CLOSED', retry: 'allowed' })
})

test('a peer that closes before it answers: a retry is harmless only on a reused connection', async () => {
  for (const way of ['end', 'resetAndDestroy'] as const) {
    let first = true
    await using upstream = await startUpstream((socket) => {
      socket.on('data', () => {
        if (first) socket.write(OK)
        else socket[way]()
        first = false
      })
    })
    await using connector = startConnector()
    await fetchOver(connector, upstream.peer())
    const session = await connector.session(upstream.peer())
    expect(session.reused).toBe(true)
    expect((await send(session).done).error).toMatchObject({
      code: 'CONNECTION_CLOSED',
      source: 'upstream',
      retry: 'if-reused',
    })
    const fresh = await connector.session(upstream.peer())
    expect(fresh.reused).toBe(false)
    expect((await send(fresh).done).error?.code).toBe('CONNECTION_CLOSED')
  }
})

test('a peer that closes within its response: never a retry', async () => {
  for (const partial of [
    'H',
    'HTTP/1.1 200 OK\r\nContent-',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n',
  ]) {
    await using upstream = await startUpstream((socket) => socket.on('data', () => socket.end(partial)))
    await using connector = startConnector()
    expect((await fetchOver(connector, upstream.peer())).error).toMatchObject({
      source: 'upstream',
      retry: 'never',
    })
  }
  await using upstream = await startUpstream((socket) => {
    socket.on('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\nhalf', () => setTimeout(() => socket.resetAndDestroy(), 5))
    })
  })
  await using connector = startConnector()
  const recorder = await fetchOver(connector, upstream.peer())
  expect(recorder.error).toMatchObject({ code: 'CONNECTION_CLOSED', retry: 'never' })
  expect(recorder.body).toBe('half')
})

test('a connection that its peer closes while idle leaves the pool', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer())
  upstream.sockets[0]?.end()
  while (connector.stats().open > 0) await turn()
  expect(connector.stats().idle).toBe(0)
})

test('Keep-Alive: timeout= ends pooling a second before the peer does', async () => {
  await using upstream = await startUpstream(
    answering(
      'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=1\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=30\r\n\r\n',
    ),
  )
  await using connector = startConnector()
  await fetchOver(connector, upstream.peer())
  expect(connector.stats().idle).toBe(0)
  await fetchOver(connector, upstream.peer())
  expect(connector.stats().idle).toBe(1)
})

test('an early response: complete, but the connection is not used again', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = new Recorder()
  session.handler = recorder
  session.sendHead(requestOf('POST'), 10, false)
  session.flush()
  await recorder.done
  expect(recorder.body).toBe('ok')
  expect(session.reusable).toBe(false)
  connector.release(session)
  expect(connector.stats().open).toBe(0)
})

test('readTimeoutMs: for the first byte, and anew for each read', async () => {
  await using silent = await startUpstream(() => undefined)
  await using connector = startConnector()
  expect((await fetchOver(connector, silent.peer({ readTimeoutMs: 30 }))).error).toMatchObject({
    code: 'READ_TIMEOUT',
    source: 'upstream',
  })
  // The head takes long, then the body does: together longer than one timeout.
  await using slow = await startUpstream((socket) => {
    socket.on('data', () => {
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab'), 70)
      setTimeout(() => socket.write('cd'), 140)
    })
  })
  const recorder = await fetchOver(connector, slow.peer({ readTimeoutMs: 110 }))
  expect(recorder.body).toBe('abcd')
  await using stuck = await startUpstream(answering('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab'))
  expect((await fetchOver(connector, stuck.peer({ readTimeoutMs: 30 }))).error?.code).toBe('READ_TIMEOUT')
})

test('a response that stops while its request is still under way times out too', async () => {
  await using upstream = await startUpstream(answering('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab'))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer({ readTimeoutMs: 30 }))
  const recorder = new Recorder()
  session.handler = recorder
  session.sendHead(requestOf('POST'), 10, false)
  session.flush()
  expect((await recorder.done).error?.code).toBe('READ_TIMEOUT')
})

test('Expect: 100-continue waits for the upstream with a limit, and then for the client', async () => {
  let text = ''
  await using upstream = await startUpstream((socket, index) => {
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (index === 0) return
      if (text.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      else socket.write(OK)
    })
  })
  await using connector = startConnector()
  const start = async (): Promise<[Recorder, ClientSession]> => {
    const session = await connector.session(upstream.peer({ readTimeoutMs: 40 }))
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST', '/', [['Expect', '100-continue']]), 3, false)
    session.flush()
    return [recorder, session]
  }
  const [silent] = await start()
  expect((await silent.done).error?.code).toBe('READ_TIMEOUT')
  text = ''
  const [recorder, session] = await start()
  while (recorder.informational.length === 0) await turn()
  // Now it is the client's turn, which may take longer than the upstream may.
  await new Promise((resolve) => setTimeout(resolve, 80))
  session.writeBody(Buffer.from('abc'), 0, 3)
  session.endRequest(null)
  expect((await recorder.done).body).toBe('ok')
  connector.release(session)
})

test('writeTimeoutMs: a peer that takes nothing', async () => {
  await using upstream = await startUpstream((socket) => socket.pause())
  await using connector = startConnector()
  const session = await connector.session(upstream.peer({ writeTimeoutMs: 40 }))
  const recorder = new Recorder()
  session.handler = recorder
  session.sendHead(requestOf('POST'), -1, false)
  const chunk = Buffer.alloc(8 * 1_048_576)
  session.writeBody(chunk, 0, chunk.length)
  expect((await recorder.done).error?.code).toBe('WRITE_TIMEOUT')
})

test('a tunnel: 101 to an upgrade, both directions, each side ends by itself', async () => {
  await using upstream = await startUpstream((socket) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.endsWith('\r\n\r\n'))
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nearly')
      if (text.endsWith('ping')) socket.end('pong')
    })
  })
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = send(session, 'GET', true)
  while (recorder.body !== 'early') await turn()
  expect(recorder.head?.status).toBe(101)
  session.writeBody(Buffer.from('ping'), 0, 4)
  session.flush()
  await recorder.done
  expect(recorder.body).toBe('earlypong')
  expect(recorder.error).toBeUndefined()
  session.endRequest(null)
  while (connector.stats().open > 0) await turn()
  expect(recorder.error).toBeUndefined()
})

test('an upgrade that is refused gives a response whose connection is not used again', async () => {
  await using upstream = await startUpstream(answering(OK))
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = await send(session, 'GET', true).done
  expect(recorder.body).toBe('ok')
  connector.release(session)
  expect(connector.stats().open).toBe(0)
})
