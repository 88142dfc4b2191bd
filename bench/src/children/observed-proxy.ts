// The proxy under test of `observers.ts`, watched by one kind of observer:
//   node observed-proxy.ts PORT ORIGIN_PORT NAME FILE
import { accessLog, fileDestination } from '@cirque/access-log'
import { HttpPeer, Server } from '@cirque/core'
import { openTelemetry } from '@cirque/opentelemetry'
import { proxyMetrics } from '@cirque/prometheus'
import { httpProxyService, type ProxyObserver } from '@cirque/proxy'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { NoopSpanProcessor, TraceIdRatioBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace'
import { pino } from 'pino'

const [port = '', originPort = '', name = '', file = ''] = process.argv.slice(2)

const JSON_FIELDS = {
  time: '$time_iso8601',
  client: '$remote_addr',
  request: '$request',
  status: '$status',
  bytes: '$body_bytes_sent',
  seconds: '$request_time',
  upstream: '$upstream_addr',
}

const OBSERVERS: Readonly<Record<string, () => readonly ProxyObserver[]>> = {
  none: () => [],
  times: () => [{ onRequestEnd: () => undefined }],
  'access-log': () => [accessLog({ destination: fileDestination(file) })],
  'access-log-json': () => [accessLog({ format: JSON_FIELDS, destination: fileDestination(file) })],
  'access-log-pino': () => [
    accessLog({
      format: JSON_FIELDS,
      logger: pino(pino.destination({ dest: file, sync: false, minLength: 4_096 })),
    }),
  ],
  prometheus: () => [proxyMetrics()],
  'log-and-metrics': () => [accessLog({ destination: fileDestination(file) }), proxyMetrics()],
  'otel-no-sdk': () => [openTelemetry()],
  'otel-traces-1%': () => [openTelemetry({ ...traced(0.01), meterProvider: false })],
  'otel-traces-rate-1%': () => [openTelemetry({ ...traced(1), sampleRate: 0.01, meterProvider: false })],
  'otel-traces': () => [openTelemetry({ ...traced(1), meterProvider: false })],
  'otel-metrics': () => [openTelemetry({ tracerProvider: false, meterProvider: new MeterProvider() })],
}

function traced(ratio: number) {
  const sampler = new TraceIdRatioBasedSampler(ratio)
  const tracerProvider = new TracerProvider({ sampler, spanProcessors: [new NoopSpanProcessor()] })
  return { tracerProvider, propagator: new W3CTraceContextPropagator() }
}

const observers = OBSERVERS[name]
if (observers === undefined) throw new RangeError(`Unknown observer "${name}"`)
const server = new Server({ argv: false })
const peer = new HttpPeer(`127.0.0.1:${originPort}`)
const app = { upstreamPeer: () => peer }
const proxy = httpProxyService(server.configuration, app, { observers: observers() })
proxy.addTcp(`127.0.0.1:${port}`)
server.addService(proxy)
await server.run()
