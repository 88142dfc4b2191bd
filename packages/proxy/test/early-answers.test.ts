import { HttpPeer } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../core/test/support/certificates.ts'
import { EarlyUpstream } from '../../core/test/support/early-upstream.ts'
import { get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'

const ANSWER = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge'
const TLS = { tls: true, sni: 'localhost', verifyCertificate: false } as const
const identity = makeCertificate({ dnsNames: ['localhost'] })

/** How often each upload is tried: sometimes the answer is read first, sometimes a write fails first. */
const ROUNDS = 10

const FRAMINGS = {
  'Content-Length': (size: number) => [`Content-Length: ${size}`, Buffer.alloc(size)] as const,
  chunked: (size: number) =>
    [
      'Transfer-Encoding: chunked',
      Buffer.concat([
        Buffer.from(`${size.toString(16)}\r\n`),
        Buffer.alloc(size),
        Buffer.from('\r\n0\r\n\r\n'),
      ]),
    ] as const,
}

// Elsewhere a reset may empty the queue of what arrived before it.
describe.skipIf(process.platform !== 'linux')('an upstream refuses an upload halfway and is gone', () => {
  describe.each(['close', 'reset'] as const)('by %s', (end) => {
    describe.each([false, true])('TLS upstream: %s', (secure) => {
      test.each([
        ['Content-Length', 20_000],
        ['chunked', 20_000],
        ['Content-Length', 10_485_760],
        ['chunked', 10_485_760],
      ] as const)('the client gets the refusal: %s, %i bytes', async (framing, size) => {
        const readBytes = Math.min(size / 2, 100_000)
        const tls = secure ? { secure: identity } : {}
        await using upstream = await EarlyUpstream.start({ answer: ANSWER, end, readBytes, ...tls })
        await using proxy = await startProxy({
          upstreamPeer: () => new HttpPeer(upstream.address, secure ? TLS : {}),
        })
        const [field, body] = FRAMINGS[framing](size)
        for (let round = 0; round < ROUNDS; round++) {
          await using client = new RawClient(proxy.port)
          // Every second upload goes over a connection that has carried a request.
          if (round % 2 === 1) expect((await client.write(get()).response()).status).toBe(204)
          client.write(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`).write(body)
          const { status, body: text } = await client.response()
          expect([status, text]).toEqual([413, 'large'])
        }
        expect(proxy.errors()).toEqual([])
      })
    })
  })

  test('a POST is sent again when its pooled connection was lost before anything of it was sent', async () => {
    const answer = ANSWER.replace('Connection: close\r\n', '')
    await using upstream = await EarlyUpstream.start({ answer, end: 'reset', readBytes: 10 })
    const attempts: number[] = []
    await using proxy = await startProxy({
      upstreamPeer: (session) => {
        // The first attempt of the second request finds a connection that was reset meanwhile.
        if (session.request.path === '/again' && session.record.attempts.length === 1) {
          expect(proxy.proxy.connector.stats().idle).toBe(1)
          upstream.standStill(1)
        }
        return new HttpPeer(upstream.address)
      },
      logging: (session) => void attempts.push(session.record.attempts.length),
    })
    await using client = new RawClient(proxy.port)
    const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789`
    // Both at once: nothing is read from the upstream between them.
    client.write(post('/') + post('/again'))
    expect((await client.response()).status).toBe(413)
    expect((await client.response()).status).toBe(413)
    expect(attempts).toEqual([1, 2])
  })
})
