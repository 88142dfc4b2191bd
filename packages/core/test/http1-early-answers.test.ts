import { describe, expect, test } from 'vitest'
import { type ClientSession, HttpPeer } from '../src/index.ts'
import { makeCertificate } from './support/certificates.ts'
import { EarlyUpstream } from './support/early-upstream.ts'
import { turn } from './support/raw-client.ts'
import { fetchOver, Recorder, requestOf, send, startConnector } from './support/upstream.ts'

const ANSWER = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge'
const identity = makeCertificate({ dnsNames: ['localhost'] })
const TLS = { tls: true, sni: 'localhost', verifyCertificate: false } as const

// Elsewhere a reset may empty the queue of what arrived before it.
describe.skipIf(process.platform !== 'linux')('an upstream that answers and is gone', () => {
  describe.each(['close', 'reset'] as const)('by %s', (end) => {
    describe.each([false, true])('TLS: %s', (secure) => {
      const init = { answer: ANSWER, end, readBytes: 1, ...(secure ? { secure: identity } : {}) }
      const peerOf = (upstream: EarlyUpstream) => new HttpPeer(upstream.address, secure ? TLS : {})

      // The first bytes over new TLS wait for the end of the handshake, which cannot come while this thread stands.
      const kinds = secure ? [true] : [false, true]

      test.each(kinds)('is heard although a write failed first; reused: %s', async (reused) => {
        await using upstream = await EarlyUpstream.start(init)
        await using connector = startConnector()
        if (reused) await fetchOver(connector, peerOf(upstream))
        const session = await connector.session(peerOf(upstream))
        expect(session.reused).toBe(reused)
        const recorder = new Recorder()
        session.handler = recorder
        session.sendHead(requestOf('POST'), 1_000_000, false)
        session.flush()
        upstream.standStill(1)
        const chunk = Buffer.alloc(10_000, 'x')
        for (let i = 0; i < 5; i++) session.writeBody(chunk, 0, chunk.length)
        await recorder.done
        expect([recorder.head?.status, recorder.body, recorder.error]).toEqual([413, 'large', undefined])
        expect(session.reusable).toBe(false)
        connector.release(session)
        expect(connector.stats().open).toBe(0)
      })

      test('is heard when its answer comes before a write fails', async () => {
        const body = 'x'.repeat(20_000)
        const answer = `HTTP/1.1 413 Content Too Large\r\nContent-Length: ${body.length}\r\n\r\n${body}`
        await using upstream = await EarlyUpstream.start({ ...init, answer })
        await using connector = startConnector()
        const session = await connector.session(peerOf(upstream))
        const recorder = new Recorder()
        session.handler = recorder
        session.sendHead(requestOf('POST'), 1_000_000, false)
        session.flush()
        const chunk = Buffer.alloc(10_000, 'y')
        while (recorder.head === undefined) await turn()
        for (let i = 0; i < 5; i++) session.writeBody(chunk, 0, chunk.length)
        await recorder.done
        expect([recorder.head?.status, recorder.bodyBytes, recorder.error]).toEqual([
          413,
          body.length,
          undefined,
        ])
        connector.release(session)
      })
    })
  })

  test('a pooled connection that is lost before a request went over it says so', async () => {
    const answer = ANSWER.replace('Connection: close\r\n', '')
    await using upstream = await EarlyUpstream.start({ answer, end: 'reset', readBytes: 1 })
    await using connector = startConnector()
    const peer = new HttpPeer(upstream.address)
    for (const size of [10, 10_000]) {
      const session = await connector.session(peer)
      await send(session, 'POST').done
      connector.release(session)
      upstream.standStill(size === 10 ? 1 : 2)
      const stale = connector.acquire(peer) as ClientSession
      expect(stale).toBe(session)
      const recorder = new Recorder()
      stale.handler = recorder
      stale.sendHead(requestOf('POST'), size, false)
      stale.writeBody(Buffer.alloc(size), 0, size)
      stale.endRequest(null)
      expect((await recorder.done).error).toMatchObject({ code: 'CONNECTION_CLOSED', retry: 'allowed' })
      expect(stale.requestSent).toBe(false)
    }
  })

  test('what came through a tunnel before a reset is delivered, also when a write failed first; then the reset is told', async () => {
    await using upstream = await EarlyUpstream.start({ answer: 'goodbye', end: 'reset', readBytes: 1 })
    await using connector = startConnector()
    const session = await new Promise<ClientSession>((onConnected, onConnectError) => {
      connector.connectTunnel(new HttpPeer(upstream.address), { onConnected, onConnectError })
    })
    const recorder = send(session, 'CONNECT', true)
    while (recorder.head === undefined) await turn()
    const write = (): void => {
      session.writeBody(Buffer.from('hello'), 0, 5)
      session.flush()
    }
    write()
    upstream.standStill(1)
    write()
    await recorder.done
    expect([recorder.head.status, recorder.body, recorder.ended]).toEqual([101, 'goodbye', false])
    expect(recorder.error?.code).toBe('CONNECTION_CLOSED')
    expect(connector.stats().open).toBe(0)
  })

  test('an answer that is cut is an error, with what the write said as its cause', async () => {
    await using upstream = await EarlyUpstream.start({
      answer: ANSWER.slice(0, -1),
      end: 'reset',
      readBytes: 1,
    })
    await using connector = startConnector()
    const session = await connector.session(new HttpPeer(upstream.address))
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), 100, false)
    session.flush()
    upstream.standStill(1)
    session.writeBody(Buffer.alloc(10), 0, 10)
    session.flush()
    await recorder.done
    expect([recorder.head?.status, recorder.body, recorder.error?.source]).toEqual([413, 'larg', 'upstream'])
    expect(connector.stats().open).toBe(0)
  })

  test('without any answer it is a lost connection, which names the failed write', async () => {
    await using upstream = await EarlyUpstream.start({ answer: '', end: 'reset', readBytes: 1 })
    await using connector = startConnector()
    const session = await connector.session(new HttpPeer(upstream.address))
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), 100, false)
    session.flush()
    upstream.standStill(1)
    session.writeBody(Buffer.alloc(10), 0, 10)
    session.flush()
    const { error } = await recorder.done
    expect(error).toMatchObject({
      code: 'CONNECTION_CLOSED',
      cause: { code: 'ECONNRESET', syscall: 'write' },
    })
    expect(connector.stats().open).toBe(0)
  })
})
