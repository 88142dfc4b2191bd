import { connect } from 'node:net'
import { HttpPeer, type LogFields, silentLogger } from '@cirque/core'
import {
  type Context,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type TextMapSetter,
  trace,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  InMemorySpanExporter,
  type Sampler,
  SamplingDecision,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { describe, expect, test } from 'vitest'
import { start, until } from '../../proxy/test/support/observed-proxy.ts'
import { openTelemetry } from '../src/index.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`
const propagator = new W3CTraceContextPropagator()

function sdk() {
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
  return { exporter, tracerProvider, options: { tracerProvider, meterProvider: false, propagator } as const }
}

describe('traces', () => {
  test('a span per request and attempt, by the conventions; W3C context in and out', async () => {
    const { exporter, options } = sdk()
    const seen: Record<string, unknown>[] = []
    await using proxy = await start({ observers: [openTelemetry(options)] }, (request, response) => {
      seen.push(request.headers)
      response.end('hello')
    })
    const headers = { traceparent: PARENT, tracestate: 'vendor=1', 'user-agent': 'me/1' }
    await (await fetch(`http://127.0.0.1:${proxy.port}/a?token=s3cret`, { headers })).text()
    await proxy.idle()
    const [client, server] = exporter.getFinishedSpans()
    expect(server).toMatchObject({
      name: 'GET',
      kind: SpanKind.SERVER,
      status: { code: SpanStatusCode.UNSET },
    })
    expect(server?.spanContext().traceId).toBe(TRACE)
    expect(server?.parentSpanContext?.spanId).toBe('00f067aa0ba902b7')
    expect(server?.attributes).toEqual({
      'http.request.method': 'GET',
      'url.path': '/a',
      'url.scheme': 'http',
      'network.protocol.version': '1.1',
      'client.address': '127.0.0.1',
      'network.peer.address': '127.0.0.1',
      'network.peer.port': expect.any(Number),
      'user_agent.original': 'me/1',
      'server.address': '127.0.0.1',
      'server.port': proxy.port,
      'http.response.status_code': 200,
    })
    expect(client).toMatchObject({
      name: 'GET',
      kind: SpanKind.CLIENT,
      status: { code: SpanStatusCode.UNSET },
    })
    expect(client?.parentSpanContext?.spanId).toBe(server?.spanContext().spanId)
    expect(client?.attributes).toEqual({
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'server.address': '127.0.0.1',
      'server.port': proxy.originPort,
      'url.full': `http://127.0.0.1:${proxy.originPort}/a`,
      'cirque.connection.reused': false,
    })
    expect(seen[0]?.['traceparent']).toBe(`00-${TRACE}-${client?.spanContext().spanId}-01`)
    expect(seen[0]?.['tracestate']).toBe('vendor=1')
  })

  test('a request that is not sampled has no span for its attempts, and the upstream hears of it', async () => {
    const { exporter, options } = sdk()
    const kinds: (SpanKind | undefined)[] = []
    const sampler: Sampler = {
      shouldSample: (_context, _traceId, _name, kind) => {
        kinds.push(kind)
        return { decision: SamplingDecision.NOT_RECORD }
      },
      toString: () => 'none',
    }
    const provider = new TracerProvider({ sampler })
    const seen: unknown[] = []
    await using proxy = await start(
      { observers: [openTelemetry({ ...options, tracerProvider: provider })] },
      (request, response) => {
        seen.push(request.headers['traceparent'])
        response.end('hello')
      },
    )
    const reply = await fetch(`http://127.0.0.1:${proxy.port}/a`, { headers: { traceparent: PARENT } })
    expect(await reply.text()).toBe('hello')
    await proxy.idle()
    expect(kinds).toEqual([SpanKind.SERVER])
    expect(seen).toEqual([
      expect.stringMatching(new RegExp(`^00-${TRACE}-(?!00f067aa0ba902b7)[0-9a-f]{16}-00$`)),
    ])
    expect(exporter.getFinishedSpans()).toEqual([])
  })

  test('what sampleRate leaves out costs no span, and the upstream hears of it, whatever the propagator', async () => {
    const { exporter, options } = sdk()
    const seen: Record<string, unknown>[] = []
    const contexts: (string | undefined)[] = []
    const b3 = {
      fields: () => ['b3'],
      extract: propagator.extract.bind(propagator),
      inject(context: Context, carrier: unknown, setter: TextMapSetter) {
        const { traceId, traceFlags } = trace.getSpanContext(context) as SpanContext
        setter.set(carrier, 'b3', `${traceId}-${traceFlags}`)
      },
    }
    for (const [own, headers] of [
      [{}, {}],
      [{}, { traceparent: 'nonsense', tracestate: 'vendor=1', baggage: 'a=1' }],
      [{}, { traceparent: PARENT, tracestate: 'vendor=1' }],
      [{}, { traceparent: PARENT.replace(/01$/, '00'), tracestate: 'vendor=1' }],
      [{ trustIncoming: false }, { traceparent: PARENT, tracestate: 'vendor=1' }],
      [{ propagator: b3 }, { b3: 'x' }],
    ] as const) {
      const telemetry = openTelemetry({ ...options, sampleRate: 0, ...own })
      await using proxy = await start(
        { observers: [telemetry] },
        (request, response) => {
          seen.push(request.headers)
          response.end()
        },
        {
          requestFilter(session) {
            const context = telemetry.contextOf(session)
            contexts.push(context === undefined ? undefined : trace.getSpanContext(context)?.traceId)
          },
        },
      )
      await (await fetch(`http://127.0.0.1:${proxy.port}/`, { headers })).text()
      await proxy.idle()
    }
    const unsampled = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00$/
    const [fresh, odd, sampled, left, stranger, other] = seen
    expect(fresh?.['traceparent']).toMatch(unsampled)
    expect(contexts[0]).toBe(String(fresh?.['traceparent']).slice(3, 35))
    expect(odd?.['traceparent']).toMatch(unsampled)
    expect(odd?.['tracestate']).toBeUndefined()
    // A trace that a trusted client has begun goes on as it says.
    expect(String(sampled?.['traceparent'])).toMatch(new RegExp(`^00-${TRACE}-.*-01$`))
    expect(left).toMatchObject({ traceparent: PARENT.replace(/01$/, '00'), tracestate: 'vendor=1' })
    expect(contexts[3]).toBe(TRACE)
    expect(stranger?.['traceparent']).toMatch(unsampled)
    expect(stranger?.['traceparent']).not.toContain(TRACE)
    expect(other).toMatchObject({ b3: `${contexts[5]}-0` })
    expect(exporter.getFinishedSpans().map((span) => span.spanContext().traceId)).toEqual([TRACE, TRACE])
    for (const sampleRate of [-0.1, 1.1, Number.NaN, '1' as never]) {
      expect(() => openTelemetry({ sampleRate })).toThrow(RangeError)
    }
  })

  test('a sampleRate of a half asks the SDK for about a half', async () => {
    const { exporter, options } = sdk()
    await using proxy = await start({ observers: [openTelemetry({ ...options, sampleRate: 0.5 })] })
    for (let count = 0; count < 200; count++) await (await fetch(`http://127.0.0.1:${proxy.port}/`)).text()
    await proxy.idle()
    const spans = exporter.getFinishedSpans().length / 2
    expect(spans).toBeGreaterThan(50) // less often than once in 10^12
    expect(spans).toBeLessThan(150)
  })

  test('attempts that fail are errors, and those that follow count', async () => {
    const { exporter, options } = sdk()
    let turn = 0
    let port = 0
    await using proxy = await start({ observers: [openTelemetry(options)], retryBackoffMs: 0 }, undefined, {
      upstreamPeer: () => new HttpPeer(`127.0.0.1:${turn++ === 0 ? 1 : port}`),
      failToConnect: (_session, _peer, error) => {
        error.retry = 'allowed'
      },
    })
    port = proxy.originPort
    await (await fetch(`http://127.0.0.1:${proxy.port}`)).text()
    await proxy.idle()
    const [first, second, server] = exporter.getFinishedSpans()
    expect(first?.status.code).toBe(SpanStatusCode.ERROR)
    expect(first?.attributes).toMatchObject({ 'error.type': 'CONNECT_REFUSED', 'server.port': 1 })
    expect(second?.attributes).toMatchObject({
      'http.request.resend_count': 1,
      'http.response.status_code': 200,
    })
    expect(server?.status.code).toBe(SpanStatusCode.UNSET)
  })

  test('a failed request is an error; a client that leaves is none', async () => {
    const { exporter, options } = sdk()
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    await using proxy = await start({ observers: [openTelemetry(options)] }, () => resolve(), {
      requestFilter: (session) => {
        if (session.request.path === '/fails') throw new Error('no')
      },
    })
    expect((await fetch(`http://127.0.0.1:${proxy.port}/fails`)).status).toBe(500)
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write('GET /leaves HTTP/1.1\r\nHost: a\r\n\r\n')
    await reached
    socket.destroy()
    await until(() => exporter.getFinishedSpans().length === 3)
    const [failed, attempt, left] = exporter.getFinishedSpans()
    expect(failed).toMatchObject({ status: { code: SpanStatusCode.ERROR } })
    expect(failed?.attributes).toMatchObject({
      'error.type': 'FILTER_FAILED',
      'cirque.error.source': 'internal',
    })
    expect(attempt?.status.code).toBe(SpanStatusCode.UNSET)
    expect(left?.status.code).toBe(SpanStatusCode.UNSET)
    expect(left?.attributes).toMatchObject({
      'error.type': 'CONNECTION_CLOSED',
      'cirque.error.source': 'downstream',
    })
  })

  test('strangers’ contexts end here where they are not trusted', async () => {
    const { exporter, options } = sdk()
    const seen: Record<string, unknown>[] = []
    const telemetry = openTelemetry({ ...options, trustIncoming: ({ request }) => request.has('x-ours') })
    await using proxy = await start({ observers: [telemetry] }, (request, response) => {
      seen.push(request.headers)
      response.end()
    })
    const strange = { traceparent: PARENT, tracestate: 'vendor=1' }
    await (await fetch(`http://127.0.0.1:${proxy.port}`, { headers: strange })).text()
    await (await fetch(`http://127.0.0.1:${proxy.port}`, { headers: { ...strange, 'x-ours': '1' } })).text()
    await proxy.idle()
    const [client, server] = exporter.getFinishedSpans()
    expect(server?.parentSpanContext).toBeUndefined()
    expect(seen[0]?.['traceparent']).toContain(client?.spanContext().traceId)
    expect(seen[0]?.['traceparent']).not.toContain(TRACE)
    expect(seen[0]?.['tracestate']).toBeUndefined()
    expect(seen[1]?.['traceparent']).toContain(TRACE)
  })

  test('a route names the span, queries are shown if asked for, hooks reach the span', async () => {
    const { exporter, options } = sdk()
    const telemetry = openTelemetry({ ...options, captureQuery: true, route: () => '/users/:id' })
    await using proxy = await start({ observers: [telemetry] }, undefined, {
      requestFilter: (session) => {
        const context = telemetry.contextOf(session)
        const span = context === undefined ? undefined : (trace.getSpan(context) as Span)
        span?.setAttribute('user', 'ada')
      },
    })
    await (await fetch(`http://127.0.0.1:${proxy.port}/users/7?a=1`)).text()
    await proxy.idle()
    const server = exporter.getFinishedSpans()[1]
    expect(server?.name).toBe('GET /users/:id')
    expect(server?.attributes).toMatchObject({ 'http.route': '/users/:id', 'url.query': 'a=1', user: 'ada' })
  })

  test('methods that nobody knows share a name', async () => {
    const { exporter, options } = sdk()
    await using proxy = await start({ observers: [openTelemetry(options)] })
    await (await fetch(`http://127.0.0.1:${proxy.port}`, { method: 'BREW' })).text()
    await proxy.idle()
    const server = exporter.getFinishedSpans().at(-1)
    expect(server?.name).toBe('HTTP')
    expect(server?.attributes).toMatchObject({
      'http.request.method': '_OTHER',
      'http.request.method_original': 'BREW',
    })
  })

  test('a route that throws leaves no span open, and is logged', async () => {
    const { exporter, options } = sdk()
    const logged: (LogFields | undefined)[] = []
    const route = () => {
      throw new Error('no route')
    }
    const logger = {
      ...silentLogger,
      error: (_message: string, fields?: LogFields) => void logged.push(fields),
    }
    await using proxy = await start({ observers: [openTelemetry({ ...options, route })], logger })
    expect((await fetch(`http://127.0.0.1:${proxy.port}`)).status).toBe(200)
    await proxy.idle()
    expect(exporter.getFinishedSpans()).toHaveLength(2)
    expect(String(logged[0]?.['error'])).toBe('Error: no route')
  })
})

test('without an SDK nothing happens, and the client’s context goes through', async () => {
  const seen: Record<string, unknown>[] = []
  await using proxy = await start({ observers: [openTelemetry()] }, (request, response) => {
    seen.push(request.headers)
    response.end('hello')
  })
  const reply = await fetch(`http://127.0.0.1:${proxy.port}`, { headers: { traceparent: PARENT } })
  expect(await reply.text()).toBe('hello')
  expect(seen[0]?.['traceparent']).toBe(PARENT)
})

test('metrics of the conventions, for requests and attempts', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const telemetry = openTelemetry({ tracerProvider: false, meterProvider, route: () => '/all' })
  await using proxy = await start({ observers: [telemetry] })
  for (let index = 0; index < 3; index++) await (await fetch(`http://127.0.0.1:${proxy.port}`)).text()
  await proxy.idle()
  await meterProvider.forceFlush()
  const found = new Map(
    (exporter.getMetrics().at(-1)?.scopeMetrics ?? [])
      .flatMap(({ metrics }) => metrics)
      .map((metric) => [metric.descriptor.name, metric.dataPoints]),
  )
  await meterProvider.shutdown()
  expect(found.get('http.server.active_requests')).toMatchObject([
    { value: 0, attributes: { 'http.request.method': 'GET', 'url.scheme': 'http' } },
  ])
  expect(found.get('http.server.request.duration')).toMatchObject([
    {
      value: { count: 3 },
      attributes: {
        'http.request.method': 'GET',
        'url.scheme': 'http',
        'network.protocol.version': '1.1',
        'http.response.status_code': 200,
        'http.route': '/all',
      },
    },
  ])
  expect(found.get('http.client.request.duration')).toMatchObject([
    { value: { count: 3 }, attributes: { 'server.address': '127.0.0.1', 'server.port': proxy.originPort } },
  ])
})

test.each([
  ['an unknown option', { tracer: {} }],
  ['a trust that is no answer', { trustIncoming: 'yes' }],
  ['a route that is no function', { route: '/a' }],
])('%s is refused at construction', (_name, options) => {
  expect(() => openTelemetry(options as never)).toThrow(TypeError)
})
