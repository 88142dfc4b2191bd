import fc from 'fast-check'
import { expect, test } from 'vitest'
import { startServer } from './support/http-server.ts'
import { connectRaw, turn } from './support/raw-client.ts'
import { fetchOver, startConnector, startUpstream } from './support/upstream.ts'

const SEED = 20_261_121

interface Case {
  readonly body: string
  readonly framing: 'none' | 'length' | 'chunked'
  readonly chunkBytes: number
  /** What the handler does with the body. */
  readonly reading: 'at once' | 'late' | 'not'
}

const requestCase: fc.Arbitrary<Case> = fc.record({
  body: fc.string({ maxLength: 40 }),
  framing: fc.constantFrom('none', 'length', 'chunked'),
  chunkBytes: fc.integer({ min: 1, max: 9 }),
  reading: fc.constantFrom('at once', 'late', 'not'),
})

function chunkedOf(body: Buffer, chunkBytes: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < body.length; at += chunkBytes) {
    const part = body.subarray(at, at + chunkBytes)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

/** A chunked body that is not read closes the connection: in these sequences all of them are read. */
function isRead(one: Case): boolean {
  return one.reading !== 'not' || one.framing === 'chunked'
}

function bytesOf(one: Case, index: number): Buffer {
  const body = Buffer.from(one.body)
  const reading = one.reading === 'not' && isRead(one) ? 'late' : one.reading
  const head = `POST /${index} HTTP/1.1\r\nHost: a\r\nX-Reading: ${reading}\r\n`
  switch (one.framing) {
    case 'none':
      return Buffer.from(`${head}\r\n`)
    case 'length':
      return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body])
    case 'chunked':
      return Buffer.concat([
        Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`),
        chunkedOf(body, one.chunkBytes),
      ])
  }
}

function answerOf(one: Case, index: number): string {
  if (!isRead(one)) return `<${index}:unread>`
  return `<${index}:${one.framing === 'none' ? '' : Buffer.from(one.body).toString('hex')}>`
}

async function sendCut(write: (part: Buffer) => void, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  let from = 0
  for (const to of [...places, bytes.length]) {
    if (to === from) continue
    write(bytes.subarray(from, to))
    from = to
    await turn()
  }
}

test('any sequence of requests, cut anywhere, is answered in order and with its own body', async () => {
  await using server = await startServer(async (session) => {
    const reading = session.request.get('x-reading')
    if (reading === 'late') for (let i = 0; i < 3; i++) await turn()
    const body = reading === 'not' ? 'unread' : (await session.readRequestBody()).toString('hex')
    session.respond(200, { body: `<${session.request.target.slice(1)}:${body}>` })
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(requestCase, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(2_000), { maxLength: 12 }),
      async (cases, cuts) => {
        await using client = await connectRaw(server.port)
        await sendCut((part) => client.send(part), Buffer.concat(cases.map(bytesOf)), cuts)
        await client.until((received) => received.split('>').length > cases.length, 'all answers')
        expect(client.received.match(/<\d+:\w*>/g)).toEqual(cases.map(answerOf))
      },
    ),
    { seed: SEED, numRuns: 150 },
  )
})

test('any bytes at all: the server answers or closes, and counts no connection afterwards', async () => {
  await using server = await startServer(
    async (session) => session.respond(200, { body: await session.readRequestBody() }),
    { lingerTimeoutMs: 100 },
  )
  const piece = fc.oneof(
    fc.constantFrom(
      'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n',
      '5\r\nhello\r\n',
      '0\r\n\r\n',
      '\r\n',
      'Connection: close\r\n',
      'ffffffffffffffff\r\n',
    ),
    fc.string({ maxLength: 10, unit: 'binary' }),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { maxLength: 10 }),
      fc.array(fc.nat(400), { maxLength: 5 }),
      fc.constantFrom('end' as const, 'reset' as const),
      async (pieces, cuts, way) => {
        await using client = await connectRaw(server.port)
        await sendCut((part) => client.send(part), Buffer.from(pieces.join(''), 'latin1'), cuts)
        client[way]()
        await client.rest()
        await server.drained()
        await turn()
        expect(server.app.stats().connections).toBe(0)
      },
    ),
    { seed: SEED, numRuns: 200 },
  )
})

test('any sequence of responses, cut anywhere, reaches its own request', async () => {
  let bytes: Buffer = Buffer.alloc(0)
  let cuts: readonly number[] = []
  await using upstream = await startUpstream((socket) => {
    socket.on('data', () => void sendCut((part) => socket.write(part), bytes, cuts))
    socket.on('end', () => socket.end())
  })
  await using connector = startConnector()
  const response = fc.record({
    body: fc.string({ maxLength: 200, unit: 'binary' }),
    chunkBytes: fc.nat(40),
    informational: fc.nat(3),
    cuts: fc.array(fc.nat(600), { maxLength: 8 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(response, { minLength: 1, maxLength: 5 }), async (responses) => {
      for (const one of responses) {
        const body = Buffer.from(one.body, 'latin1')
        const chunked = one.chunkBytes > 0
        const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
        bytes = Buffer.concat([
          Buffer.from('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(one.informational)),
          Buffer.from(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`),
          chunked ? chunkedOf(body, one.chunkBytes) : body,
        ])
        cuts = one.cuts
        const recorder = await fetchOver(connector, upstream.peer())
        expect(recorder.error).toBeUndefined()
        expect(recorder.body).toBe(body.toString('latin1'))
        expect(recorder.informational.length).toBe(one.informational)
      }
    }),
    { seed: SEED, numRuns: 100 },
  )
  expect(upstream.sockets.length).toBe(1)
})

test('none of it leaves a socket behind', async () => {
  for (let i = 0; i < 5; i++) await turn()
  expect(process.getActiveResourcesInfo().filter((kind) => kind.startsWith('TCP'))).toEqual([])
})
