// What OpenTelemetry adds to a proxied request, in JavaScript alone: real sessions and exchanges over streams that never
// reach the kernel.
//
//   node --conditions=@cirque/source packages/opentelemetry/bench/opentelemetry.bench.ts

import type { Socket } from 'node:net'
import { cpus } from 'node:os'
import { Duplex } from 'node:stream'
import { createConfiguration, HttpPeer } from '@cirque/core'
import { openTelemetry } from '@cirque/opentelemetry'
import { HttpProxy, type ProxyObserver } from '@cirque/proxy'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { NoopSpanProcessor, TraceIdRatioBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace'

const ROUNDS = 9
const REQUESTS = 20_000

const sink = Buffer.alloc(65_536)

class MemoryStream extends Duplex {
  onWritten: () => void = () => {}
  override write(chunk: unknown): boolean {
    if (typeof chunk === 'string') sink.write(chunk, 'latin1')
    this.onWritten()
    return true
  }
  override _read(): void {}
}

const head = Buffer.from(
  'GET /assets/app.js?v=3 HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n' +
    'Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\nReferer: https://example.org/\r\n' +
    'Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n',
)
const response = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 09:54:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!',
)

/** Nanoseconds of CPU per request: the best of rounds. */
async function measure(port: number, observers: readonly ProxyObserver[]): Promise<number> {
  const upstream = new MemoryStream()
  upstream.onWritten = () => upstream.emit('data', response)
  const peer = new HttpPeer(`127.0.0.1:${port}`, { connect: async () => upstream })
  const proxy = new HttpProxy(
    createConfiguration(),
    { upstreamPeer: () => peer },
    { server: { requestsPerConnectionMax: 2 ** 31 - 1 }, observers },
  )
  const client = new MemoryStream()
  Object.defineProperty(client, 'remoteAddress', { value: '127.0.0.1' })
  proxy.serverApp.onConnection(client as unknown as Socket)
  let answered = 0
  client.onWritten = () => {
    answered++
  }
  client.emit('data', head)
  while (answered === 0) await new Promise((resolve) => setImmediate(resolve))
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage()
    for (let i = 0; i < REQUESTS; i++) client.emit('data', head)
    await new Promise((resolve) => setTimeout(resolve, 10))
    const { user, system } = process.cpuUsage(start)
    times.push(((user + system) * 1000) / REQUESTS)
  }
  if (answered < ROUNDS * REQUESTS) throw new Error(`only ${answered} answers`)
  proxy.connector.close()
  client.destroy()
  return Math.min(...times)
}

console.log(`Node ${process.version}, ${cpus()[0]?.model ?? 'unknown CPU'}`)
await measure(1, []) // warms up what all share
const without = await measure(1, [])
const timed = await measure(2, [{ onRequestEnd: () => undefined }])
console.log(`nobody watches: ${without.toFixed(0)} ns per request`)
console.log(`an observer that does nothing, with times: +${(timed - without).toFixed(0)} ns`)
const noSdk = await measure(3, [openTelemetry()])
console.log(`no SDK: +${(noSdk - without).toFixed(0)} ns`)
for (const ratio of [0, 0.01, 1]) {
  const tracerProvider = new TracerProvider({
    sampler: new TraceIdRatioBasedSampler(ratio),
    spanProcessors: [new NoopSpanProcessor()],
  })
  const propagator = new W3CTraceContextPropagator()
  const traced = await measure(4, [openTelemetry({ tracerProvider, meterProvider: false, propagator })])
  console.log(`traces, ${ratio * 100} % sampled: +${(traced - without).toFixed(0)} ns`)
}
const meterProvider = new MeterProvider()
const metered = await measure(5, [openTelemetry({ tracerProvider: false, meterProvider })])
console.log(`metrics: +${(metered - without).toFixed(0)} ns`)
