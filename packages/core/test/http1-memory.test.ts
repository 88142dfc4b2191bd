import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { peerError } from '@cirque/error'
import { expect, test } from 'vitest'
import type { ReadMemory } from '../src/http1/read-memory.ts'
import {
  type ClientSessionHandler,
  HttpPeer,
  type HttpPeerOptions,
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../src/index.ts'
import { sharedReadBuffer } from '../src/sockets/read-buffer.ts'
import { turn } from './support/raw-client.ts'
import { Recorder, requestOf, startConnector, startUpstream, type TestConnector } from './support/upstream.ts'

/** A body that differs from every other in every block, so that bytes of another connection are seen. */
function bodyOf(index: number, size: number): Buffer {
  const body = Buffer.allocUnsafe(size)
  let state = (index * 2_654_435_761 + size) >>> 0
  for (let at = 0; at + 4 <= size; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    body.writeUInt32LE(state, at)
  }
  body.fill(index & 0xff, size - (size % 4))
  return body
}

const digestOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex')
const SIZES = [0, 1, 13, 1_000, 2_047, 2_048, 2_049, 16_384, 65_535, 65_536, 65_537, 300_000]

function serveBodies(socket: Socket): void {
  let text = ''
  socket.on('end', () => socket.end())
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    const match = /^GET \/(\d+)\/(\d+)\/(\w+) [\s\S]*?\r\n\r\n/.exec(text)
    if (match === null) return
    text = text.slice(match[0].length)
    const body = bodyOf(Number(match[1]), Number(match[2]))
    if (match[3] === 'chunked') {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      for (let at = 0; at < body.length; at += 7_001) {
        const part = body.subarray(at, at + 7_001)
        socket.write(`${part.length.toString(16)}\r\n`)
        socket.write(part)
        socket.write('\r\n')
      }
      socket.write('0\r\n\r\n')
    } else {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
      socket.write(body)
    }
  })
}

/** Runs up to this size must be copied. */
const COPIED_BYTES_MAX = 2_048

/** Keeps the memory that it was given, as the contract allows, and reads it only at the end. */
class Keeper implements ClientSessionHandler {
  readonly parts: Buffer[] = []
  readonly done: Promise<Buffer>
  #resolve: (body: Buffer) => void = () => undefined
  #reject: (error: unknown) => void = () => undefined
  readonly #answer: () => WriteResult
  constructor(answer: () => WriteResult) {
    this.#answer = answer
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }
  onInformational(): void {}
  onResponseHead(): void {}
  onResponseData(buffer: Buffer, start: number, end: number): WriteResult {
    const answer = this.#answer()
    const part = buffer.subarray(start, end)
    const copied = (answer & WRITE_RETAINED) === 0 || part.length <= COPIED_BYTES_MAX
    this.parts.push(copied ? Buffer.from(part) : part)
    return copied && answer === WRITE_RETAINED ? WRITE_DONE : answer
  }
  onResponseEnd(): void {
    this.#resolve(Buffer.concat(this.parts))
  }
  onResponseFlush(): void {}
  onUpstreamDrain(): void {}
  onUpstreamError(error: unknown): void {
    this.#reject(error)
  }
}

async function fetchBodies(
  connector: TestConnector,
  address: string,
  options: HttpPeerOptions,
  worker: number,
): Promise<void> {
  for (let round = 0; round < 12; round++) {
    const size = SIZES[(worker + round) % SIZES.length] as number
    const index = worker * 100 + round
    const session = await connector.session(new HttpPeer(address, options))
    let reads = 0
    const keeper = new Keeper(() => {
      const turnOf = (worker + reads++) % 4
      if (turnOf === 1) return WRITE_RETAINED
      if (turnOf === 0) return WRITE_DONE
      setImmediate(() => session.resumeResponse())
      return turnOf === 2 ? WRITE_PAUSE : WRITE_FULL
    })
    session.handler = keeper
    session.sendHead(
      requestOf('GET', `/${index}/${size}/${round % 2 === 0 ? 'length' : 'chunked'}`),
      0,
      false,
    )
    session.endRequest(null)
    const body = await keeper.done
    connector.release(session)
    expect({ index, size, digest: digestOf(body) }).toEqual({
      index,
      size,
      digest: digestOf(bodyOf(index, size)),
    })
  }
}

test('bytes of one connection never show in another, kept, copied or held back', async () => {
  await using upstream = await startUpstream(serveBodies)
  await using connector = startConnector({ keepalivePoolSize: 10 })
  await Promise.all(
    Array.from({ length: 24 }, (_, worker) => fetchBodies(connector, upstream.address, {}, worker)),
  )
  expect(connector.stats().reused).toBeGreaterThan(50)
})

test('the same over TLS', async () => {
  const data = (name: string) => readFileSync(new URL(`./data/${name}`, import.meta.url))
  await using upstream = await startUpstream(serveBodies, {
    cert: data('localhost.pem'),
    key: data('localhost-key.pem'),
  })
  await using connector = startConnector()
  const options = { tls: true, sni: 'localhost', ca: data('localhost.pem') }
  await Promise.all(
    Array.from({ length: 8 }, (_, worker) => fetchBodies(connector, upstream.address, options, worker)),
  )
})

test('a handler that keeps what it had to copy fails its exchange, instead of showing another’s bytes', async () => {
  await using upstream = await startUpstream(serveBodies)
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = new Recorder()
  recorder.result = WRITE_RETAINED
  session.handler = recorder
  session.sendHead(requestOf('GET', '/1/13/length'), 0, false)
  session.endRequest(null)
  expect((await recorder.done).error?.code).toBe('INTERNAL_ERROR')
})

test('ten bodies of 10 MiB at once arrive whole', async () => {
  const size = 10 * 1_048_576
  await using upstream = await startUpstream(serveBodies)
  await using connector = startConnector()
  await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      const session = await connector.session(upstream.peer())
      const recorder = new Recorder(false)
      session.handler = recorder
      session.sendHead(requestOf('GET', `/${index}/${size}/length`), 0, false)
      session.endRequest(null)
      await recorder.done
      connector.release(session)
      expect(recorder.digest).toBe(digestOf(bodyOf(index, size)))
    }),
  )
})

test('a reader that stalls stops the upstream, which loses nothing', async () => {
  const size = 64 * 1_048_576
  let accepted = 0
  const block = Buffer.alloc(65_536, 'x')
  await using upstream = await startUpstream((socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
      const fill = (): void => {
        while (accepted < size) {
          accepted += block.length
          if (!socket.write(block)) break
        }
      }
      socket.on('drain', fill)
      fill()
    })
  })
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = new Recorder(false)
  recorder.result = WRITE_FULL
  session.handler = recorder
  session.sendHead(requestOf('GET'), 0, false)
  session.endRequest(null)
  for (let before = -1; before !== accepted || accepted === 0; ) {
    before = accepted
    for (let i = 0; i < 50; i++) await turn()
  }
  expect(recorder.bodyBytes).toBeLessThanOrEqual(65_536)
  expect(accepted).toBeLessThan(32 * 1_048_576)
  recorder.result = WRITE_DONE
  session.resumeResponse()
  // Where it stops is what nobody could tell who only hears that the test has timed out.
  const stuck = setTimeout(() => {
    const queued = upstream.sockets[0]?.writableLength
    recorder.onUpstreamError(
      peerError(
        'READ_TIMEOUT',
        'upstream',
        `${recorder.bodyBytes} bytes came of ${accepted} accepted, ${queued} are queued`,
      ),
    )
  }, 15_000)
  await recorder.done
  clearTimeout(stuck)
  expect(recorder.error).toBeUndefined()
  expect(recorder.bodyBytes).toBe(size)
  connector.release(session)
})

test('a peer that takes nothing fills one queue, then the writer is told, and told when it drains', async () => {
  let peerSocket: Socket | undefined
  await using upstream = await startUpstream((socket) => {
    peerSocket = socket
    socket.pause()
  })
  await using connector = startConnector()
  for (const size of [1_000, 60_000]) {
    const session = await connector.session(upstream.peer())
    while (peerSocket === undefined) await turn()
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), -1, false)
    const chunk = Buffer.alloc(size)
    let written = 0
    for (let result: WriteResult = WRITE_DONE; result < WRITE_PAUSE; written += size) {
      result = session.writeBody(chunk, 0, size)
      session.flush()
      await turn()
    }
    expect(written).toBeLessThan(32 * 1_048_576)
    peerSocket.on('data', () => undefined).resume()
    while (recorder.drains === 0) await turn()
    session.destroy()
    peerSocket = undefined
  }
})

test('a released connection holds no memory of its own', async () => {
  await using upstream = await startUpstream(serveBodies)
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = new Recorder(false)
  session.handler = recorder
  session.sendHead(requestOf('GET', '/1/300000/length'), 0, false)
  session.endRequest(null)
  await recorder.done
  const { memory } = session as unknown as { memory: ReadMemory }
  expect(memory.next === sharedReadBuffer).toBe(true)
  connector.release(session)
})
