import { connect } from 'node:net'
import { HttpPeer } from '@cirque/core'
import { ConcurrencyLimit } from '@cirque/limits'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { LIMIT_DECISIONS_MAX } from '@cirque/proxy'
import { Registry } from 'prom-client'
import { describe, expect, test } from 'vitest'
import { start, until } from '../../proxy/test/support/observed-proxy.ts'
import { proxyMetrics } from '../src/index.ts'

/** What a connection has of its states. */
interface Machine {
  become(next: number): boolean
}

/** A sample's value by its line's name and labels; undefined when there is none. */
async function samples(registry: Registry): Promise<(line: string) => number | undefined> {
  const text = await registry.metrics()
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    const at = line.lastIndexOf(' ')
    if (!line.startsWith('#') && at > 0) values.set(line.slice(0, at), Number(line.slice(at + 1)))
  }
  return (line) => values.get(line)
}

describe('a proxy’s metrics', () => {
  test('count requests, bytes, attempts and time', async () => {
    const metrics = proxyMetrics()
    await using proxy = await start({ observers: [metrics] }, (request, response) => {
      request.resume().on('end', () => {
        response.statusCode = request.url === '/none' ? 404 : 200
        response.end('hello')
      })
    })
    const url = `http://127.0.0.1:${proxy.port}`
    for (const path of ['/', '/', '/none']) await (await fetch(url + path)).text()
    await (await fetch(url, { method: 'POST', body: 'abc' })).text()
    await proxy.idle()
    const value = await samples(metrics.registry)
    expect(value('cirque_http_requests_total{method="GET",code="200"}')).toBe(2)
    expect(value('cirque_http_requests_total{method="GET",code="404"}')).toBe(1)
    expect(value('cirque_http_requests_total{method="POST",code="200"}')).toBe(1)
    expect(value('cirque_http_request_body_bytes_total')).toBe(3)
    expect(value('cirque_http_response_body_bytes_total')).toBe(20)
    expect(value('cirque_http_requests_active')).toBe(0)
    expect(value('cirque_http_retries_total')).toBe(0)
    expect(value('cirque_http_request_duration_seconds_count{code="2xx"}')).toBe(3)
    expect(value('cirque_http_request_duration_seconds_bucket{le="+Inf",code="4xx"}')).toBe(1)
    const upstream = `127.0.0.1:${proxy.originPort}`
    expect(value(`cirque_upstream_attempts_total{upstream="${upstream}",outcome="2xx"}`)).toBe(3)
    expect(value(`cirque_upstream_attempts_total{upstream="${upstream}",outcome="4xx"}`)).toBe(1)
    expect(value(`cirque_upstream_response_seconds_count{upstream="${upstream}"}`)).toBe(4)
    const again = await samples(metrics.registry)
    expect(again('cirque_http_requests_total{method="GET",code="200"}')).toBe(2)
    expect(again('cirque_http_response_body_bytes_total')).toBe(20)
  })

  test('count failures by who caused them, and retries', async () => {
    const metrics = proxyMetrics({ prefix: 'my_' })
    let turn = 0
    let port = 0
    await using proxy = await start({ observers: [metrics], retryBackoffMs: 0 }, undefined, {
      upstreamPeer: () => new HttpPeer(`127.0.0.1:${turn++ === 0 ? 1 : port}`),
      requestFilter: (session) => {
        if (session.request.path === '/refused') throw new Error('No')
      },
      failToConnect: (_session, _peer, error) => {
        error.retry = 'allowed'
      },
    })
    port = proxy.originPort
    const url = `http://127.0.0.1:${proxy.port}`
    expect((await fetch(url)).status).toBe(200)
    await (await fetch(`${url}/refused`)).text()
    await proxy.idle()
    const value = await samples(metrics.registry)
    expect(value('my_http_retries_total')).toBe(1)
    expect(value('my_upstream_attempts_total{upstream="127.0.0.1:1",outcome="CONNECT_REFUSED"}')).toBe(1)
    expect(value(`my_upstream_attempts_total{upstream="127.0.0.1:${port}",outcome="2xx"}`)).toBe(1)
    expect(value('my_http_request_errors_total{source="internal",error="FILTER_FAILED"}')).toBe(1)
  })

  test.each(['downstream', 'upstream'] as const)(
    'a broken invariant is counted %s, by its code and where it broke',
    async (side) => {
      const metrics = proxyMetrics()
      await using proxy = await start({ observers: [metrics] }, undefined, {
        connectedToUpstream(session, _peer, upstream) {
          if (session.request.path !== '/broken') return
          const { connection } = session.downstream as unknown as { readonly connection: Machine }
          // For both it is part of a head, which cannot come while an exchange is under way.
          ;(side === 'downstream' ? connection : (upstream as unknown as Machine)).become(1)
        },
      })
      metrics.watch(proxy.service)
      const url = `http://127.0.0.1:${proxy.port}`
      expect((await fetch(url)).status).toBe(200)
      expect((await fetch(`${url}/broken`)).status).toBe(500)
      await proxy.idle()
      const value = await samples(metrics.registry)
      const other = side === 'downstream' ? 'upstream' : 'downstream'
      expect(value('cirque_http_request_errors_total{source="internal",error="INVARIANT_BROKEN"}')).toBe(1)
      expect(value('cirque_http_requests_total{method="GET",code="500"}')).toBe(1)
      expect(value(`cirque_invariants_broken_total{service="HTTP proxy",side="${side}"}`)).toBe(1)
      expect(value(`cirque_invariants_broken_total{service="HTTP proxy",side="${other}"}`)).toBe(0)
      expect(value('cirque_upstream_connections{service="HTTP proxy"}')).toBe(0)
      expect((await fetch(url)).status).toBe(200)
    },
  )

  test('a client that leaves is an error of its own, and no longer under way', async () => {
    const metrics = proxyMetrics()
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    await using proxy = await start({ observers: [metrics] }, () => resolve())
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await reached
    expect((await samples(metrics.registry))('cirque_http_requests_active')).toBe(1)
    socket.destroy()
    await proxy.idle()
    const value = await samples(metrics.registry)
    expect(value('cirque_http_requests_active')).toBe(0)
    expect(value('cirque_http_requests_total{method="GET",code="0"}')).toBe(1)
    expect(value('cirque_http_request_errors_total{source="downstream",error="CONNECTION_CLOSED"}')).toBe(1)
  })
})

describe('label sets are bounded', () => {
  test('methods and statuses that nobody knows share a label', async () => {
    const metrics = proxyMetrics()
    let status = 230
    await using proxy = await start({ observers: [metrics] }, undefined, {
      requestFilter: (session) => {
        session.respond(status++)
        return true
      },
    })
    for (let index = 0; index < 20; index++) {
      await (await fetch(`http://127.0.0.1:${proxy.port}`, { method: `M${index}` })).text()
    }
    await proxy.idle()
    const value = await samples(metrics.registry)
    expect(value('cirque_http_requests_total{method="OTHER",code="2xx"}')).toBe(20)
  })

  test('upstreams beyond upstreamsMax are one, and their names are yours to choose', async () => {
    let count = 0
    const metrics = proxyMetrics({ upstreamsMax: 2, upstreamLabel: () => `upstream ${count++}` })
    await using proxy = await start({ observers: [metrics] })
    for (let index = 0; index < 5; index++) await (await fetch(`http://127.0.0.1:${proxy.port}`)).text()
    await proxy.idle()
    const value = await samples(metrics.registry)
    expect(value('cirque_upstream_attempts_total{upstream="upstream 0",outcome="2xx"}')).toBe(1)
    expect(value('cirque_upstream_attempts_total{upstream="upstream 1",outcome="2xx"}')).toBe(1)
    expect(value('cirque_upstream_attempts_total{upstream="other",outcome="2xx"}')).toBe(3)
  })
})

test('watched services and balancers are read at each scrape', async () => {
  const metrics = proxyMetrics()
  await using proxy = await start({ observers: [metrics] })
  metrics.watch(proxy.service)
  expect(() => metrics.watch(proxy.service)).toThrow('watched already')
  let backends = [{ address: 'a:1', healthy: true, eligible: false, inFlight: 3 }]
  metrics.watchBalancer({ summary: () => ({ name: 'api', waitingCount: 2, backends }) })
  await (await fetch(`http://127.0.0.1:${proxy.port}`)).text()
  const socket = connect(proxy.port, '127.0.0.1')
  socket.write('nonsense\r\n\r\n')
  await until(() => Object.keys(proxy.service.proxy.serverApp.stats().refusedHeads).length > 0)
  socket.destroy()
  await proxy.idle()
  const [code] = Object.keys(proxy.service.proxy.serverApp.stats().refusedHeads)
  const value = await samples(metrics.registry)
  expect(value('cirque_downstream_connections_total{service="HTTP proxy"}')).toBe(2)
  expect(value('cirque_upstream_connections_opened_total{service="HTTP proxy"}')).toBe(1)
  expect(value('cirque_upstream_connections_idle{service="HTTP proxy"}')).toBe(1)
  expect(value(`cirque_http_refused_heads_total{service="HTTP proxy",code="${code}"}`)).toBe(1)
  expect(value('cirque_backend_healthy{balancer="api",backend="a:1"}')).toBe(1)
  expect(value('cirque_backend_eligible{balancer="api",backend="a:1"}')).toBe(0)
  expect(value('cirque_backend_in_flight{balancer="api",backend="a:1"}')).toBe(3)
  expect(value('cirque_balancer_waiting{balancer="api"}')).toBe(2)
  expect(value('cirque_upstream_connections_evicted_total{service="HTTP proxy",reason="idle-timeout"}')).toBe(
    0,
  )
  backends = [{ address: 'b:1', healthy: false, eligible: false, inFlight: 0 }]
  const later = await samples(metrics.registry)
  expect(later('cirque_backend_healthy{balancer="api",backend="a:1"}')).toBeUndefined()
  expect(later('cirque_backend_healthy{balancer="api",backend="b:1"}')).toBe(0)
  expect(later('cirque_downstream_connections_total{service="HTTP proxy"}')).toBe(2)
})

test('ejections and other events of balancers are counted, and limits shown', async () => {
  const metrics = proxyMetrics()
  const balancer = LoadBalancer.fromAddresses(['127.0.0.1:1', '127.0.0.1:2'], roundRobin(), {
    name: 'api',
    outlier: { consecutiveFailure: 1 },
  })
  metrics.watchBalancer(balancer)
  metrics.watchBalancer(balancer)
  balancer.acquire()?.release({ ok: false, source: 'upstream' })
  const limit = new ConcurrencyLimit({ limit: 1, queueMax: 4 })
  metrics.watchLimit('uploads', limit)
  expect(() => metrics.watchLimit('uploads', limit)).toThrow('watched already')
  limit.tryAcquire()
  void limit.acquire()
  const value = await samples(metrics.registry)
  expect(value('cirque_balancer_events_total{balancer="api",event="ejected"}')).toBe(1)
  expect(value('cirque_backend_ejected{balancer="api",backend="127.0.0.1:1"}')).toBe(1)
  expect(value('cirque_backend_ejected{balancer="api",backend="127.0.0.1:2"}')).toBe(0)
  expect(value('cirque_limit_active{limit="uploads"}')).toBe(1)
  expect(value('cirque_limit_waiting{limit="uploads"}')).toBe(1)
})

test('what limits said is in the record and in the metrics, with a bound for each', async () => {
  const metrics = proxyMetrics()
  let noted = 0
  let count = 0
  await using proxy = await start({ observers: [metrics] }, undefined, {
    requestFilter: (session) => {
      const limits = Array.from({ length: count }, (_, index) => `limit ${index}`)
      for (const name of limits) session.noteLimit(name, true)
      noted = session.record.limits.length
      if (session.noteLimit('per client', count < 2)) return false
      session.respondError(429)
      return true
    },
  })
  const get = async () => (await fetch(`http://127.0.0.1:${proxy.port}`)).status
  expect(await get()).toBe(200)
  count = 2
  expect(await get()).toBe(429)
  expect(noted).toBe(2)
  count = 200
  await get()
  expect(noted).toBe(LIMIT_DECISIONS_MAX)
  await proxy.idle()
  const value = await samples(metrics.registry)
  expect(value('cirque_limit_decisions_total{limit="per client",allowed="true"}')).toBe(1)
  expect(value('cirque_limit_decisions_total{limit="per client",allowed="false"}')).toBe(1)
  expect(value('cirque_limit_decisions_total{limit="limit 1",allowed="true"}')).toBe(2)
})

test.each([
  ['an unknown option', { labels: [] }],
  ['a prefix with a dash', { prefix: 'my-' }],
  ['no buckets', { durationBucketsSeconds: [] }],
  ['buckets that descend', { durationBucketsSeconds: [1, 0.5] }],
  ['a bucket that is no number', { durationBucketsSeconds: [Number.NaN] }],
  ['no upstreams', { upstreamsMax: 0 }],
])('%s is refused at construction', (_name, options) => {
  expect(() => proxyMetrics(options as never)).toThrow()
})

test('two sets in one registry need different prefixes', () => {
  const registry = new Registry()
  proxyMetrics({ registry })
  expect(() => proxyMetrics({ registry })).toThrow('already been registered')
  proxyMetrics({ registry, prefix: 'other_' })
})
