import type { HttpModule, HttpModuleContext } from '@cirque/core'
import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { describe, expect, test } from 'vitest'
import { RawClient } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { startUpstream } from '../support/upstream.ts'
import { until } from '../support/waiting.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'

expectNoProcessFaults()

const FILTER_TIMEOUT_MS = 60
const REQUEST = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nContent-Length: 3\r\n\r\nabc`
const FOR_EVER = new Promise<never>(() => undefined)

/** Pieces of which the second never comes. */
async function* stuck(): AsyncGenerator<Buffer> {
  yield Buffer.from('first ')
  await FOR_EVER
}

/** Ways in which a module may never come to an end, and the filter that is to blame. */
const WAYS: Record<string, { readonly filter: string; readonly give: () => unknown }> = {
  requestHeaderFilter: { filter: 'requestHeaderFilter', give: () => FOR_EVER },
  requestBodyFilter: { filter: 'requestBodyFilter', give: () => FOR_EVER },
  responseHeaderFilter: { filter: 'responseHeaderFilter', give: () => FOR_EVER },
  responseBodyFilter: { filter: 'responseBodyFilter', give: () => FOR_EVER },
  'pieces of a responseBodyFilter': { filter: 'responseBodyFilter', give: stuck },
  responseTrailerFilter: { filter: 'responseTrailerFilter', give: () => FOR_EVER },
  responseDoneFilter: { filter: 'responseDoneFilter', give: () => FOR_EVER },
}

/** A module that has one filter, which hangs for `/bad`. */
function hanging(filter: string, give: () => unknown) {
  let closed = 0
  class Hanging implements HttpModule {
    close(): void {
      closed++
    }
  }
  Object.defineProperty(Hanging.prototype, filter, {
    value: (...given: readonly unknown[]) =>
      (given.at(-1) as HttpModuleContext).request.path === '/bad' ? give() : undefined,
  })
  return { builder: { module: Hanging, init: () => new Hanging() }, closed: () => closed }
}

const sides = ['initDownstreamModules', 'initUpstreamModules'] as const
describe.each(sides)('%s', (side) => {
  const ways = Object.entries(WAYS).filter(
    ([, { filter }]) => side === 'initDownstreamModules' || filter.startsWith('response'),
  )
  test.each(ways)('%s never ends: its request does, and no other is harmed', async (_name, way) => {
    const { builder, closed } = hanging(way.filter, way.give)
    const logged: (ProxyError | undefined)[] = []
    await using origin = await startUpstream((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200, { Trailer: 'X-T' })
        response.write('hello ')
        response.addTrailers({ 'X-T': 't' })
        response.end('world')
      })
    })
    await using proxy = await startProxy(
      {
        [side]: (modules: { add(one: typeof builder): unknown }) => void modules.add(builder),
        upstreamPeer: () => new HttpPeer(origin.address),
        logging: (_session, error) => void logged.push(error),
      },
      { filterTimeoutMs: FILTER_TIMEOUT_MS },
    )
    for (const path of ['/bad', '/good', '/bad']) {
      await using client = new RawClient(proxy.port)
      client.write(REQUEST(path))
      await until(
        () => client.received.endsWith('\r\n\r\n') || client.ended || client.closed,
        `${path} hangs`,
      )
      await proxy.idle()
      if (path === '/good') expect(client.received).toMatch(/^HTTP\/1\.1 200 [\s\S]*world/)
      else expect(client.received).toMatch(/^$|^HTTP\/1\.1 500 |^HTTP\/1\.1 200 (?![\s\S]*\r\n0\r\n)/)
    }
    expect(logged.map((error) => error?.code)).toEqual(['FILTER_TIMEOUT', undefined, 'FILTER_TIMEOUT'])
    expect(logged[0]?.message).toContain(way.filter)
    expect(closed()).toBe(3)
  })
})
