import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { AnyClient, CERTIFICATE, startOrigin } from './support/http2.ts'
import { startProxy } from './support/proxy.ts'

/** A body that differs from every other in every block, so that bytes of another request are seen. */
function bodyOf(index: number, size: number): Buffer {
  const body = Buffer.allocUnsafe(size)
  let state = (index * 2_654_435_761 + size) >>> 0
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    body[at] = state >>> 24
  }
  return body
}

const digestOf = (body: Buffer): string => createHash('sha256').update(body).digest('hex')
const SIZES = [0, 1, 2_048, 2_049, 32_767, 32_768, 65_535, 65_537, 200_000, 700_000, 8_000_000]

/** Takes a body at its own pace, so that some of it waits on the way, in whatever memory it lies. */
async function digestSlowly(incoming: IncomingMessage | Http2ServerRequest): Promise<string> {
  const hash = createHash('sha256')
  let count = 0
  // More comes meanwhile than the kernel holds.
  await delay(10)
  for await (const chunk of incoming) {
    hash.update(chunk)
    if (++count % 5 === 0) await delay(1)
  }
  return hash.digest('hex')
}

const apps: Record<string, Partial<ProxyHttp>> = {
  'as they come': {},
  'through a filter': { requestBodyFilter: (_session, chunk) => chunk ?? undefined },
}

const hops = ([1, 2] as const).flatMap((down) => [
  ...([1, 2, 'tls1'] as const).map((up) => ({ down, over: 'TCP', up })),
  { down, over: 'TLS', up: 1 as const },
])

test.each(hops.flatMap((hop) => Object.keys(apps).map((how) => ({ ...hop, how }))))(
  'uploads at once arrive unmixed: HTTP/$down over $over to $up, $how',
  async ({ down, over, up, how }) => {
    await using origin = await startOrigin(up, async (incoming, response) => {
      response.end(await digestSlowly(incoming))
    })
    const tls = up === 'tls1' ? { tls: true, verifyCertificate: false } : {}
    const peer = new HttpPeer(origin.address, { httpVersion: up === 2 ? 2 : 1, ...tls })
    await using proxy = await startProxy(
      { ...apps[how], upstreamPeer: () => peer },
      { server: { h2c: true } },
      over === 'TLS' ? CERTIFICATE : undefined,
    )
    const clients = Array.from({ length: 4 }, () => new AnyClient(down, proxy.port, over === 'TLS'))
    try {
      await Promise.all(
        clients.map(async (client, worker) => {
          for (let round = 0; round < 8; round++) {
            const size = SIZES[(worker * 3 + round) % SIZES.length] as number
            const body = bodyOf(worker * 100 + round, size)
            // With trailers a body is chunked in HTTP/1.
            const trailers = round % 3 === 0 ? { trailers: { 'x-sum': '1' } } : {}
            const { status, body: told } = await client.ask({ method: 'POST', body, ...trailers })
            expect([size, status, String(told)]).toEqual([size, 200, digestOf(body)])
          }
        }),
      )
    } finally {
      for (const client of clients) await client[Symbol.asyncDispose]()
    }
  },
  60_000,
)
