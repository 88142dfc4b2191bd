// What one proxied request costs in JavaScript alone: real connections, sessions and exchanges over streams
// that copy what is written into memory and never reach the kernel.
//
//   node --conditions=@cirque/source packages/proxy/bench/exchange.bench.ts

import type { Socket } from 'node:net'
import { cpus } from 'node:os'
import { Duplex } from 'node:stream'
import { createConfiguration, HttpPeer, responseCompression } from '@cirque/core'
import { HttpProxy, type ProxyHttp } from '@cirque/proxy'

const ROUNDS = 7
const REQUESTS = 100_000

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

const request = Buffer.from('GET /13 HTTP/1.1\r\nHost: 127.0.0.1:9300\r\n\r\n')
const browser = Buffer.from(
  'GET /assets/app.js?v=3 HTTP/1.1\r\nHost: example.org\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n' +
    'Accept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\nReferer: https://example.org/\r\n' +
    'Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: session=abcdefghijklmnopqrstuvwxyz0123456789\r\n\r\n',
)
const response = Buffer.from(
  'HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 09:54:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\nHello, World!',
)

async function measure(name: string, app: ProxyHttp, head: Buffer): Promise<void> {
  const proxy = new HttpProxy(createConfiguration(), app, {
    server: { requestsPerConnectionMax: 2 ** 31 - 1 },
  })
  const client = new MemoryStream()
  proxy.serverApp.onConnection(client as unknown as Socket)
  let answered = 0
  client.onWritten = () => {
    answered++
  }
  client.emit('data', head)
  while (answered === 0) await new Promise((resolve) => setImmediate(resolve))
  const times: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < REQUESTS; i++) client.emit('data', head)
    times.push(Number(process.hrtime.bigint() - start) / REQUESTS)
  }
  times.sort((a, b) => a - b)
  const [least = 0] = times
  console.log(
    `${name}: ${least.toFixed(0)} ns at best, ${(times[ROUNDS >> 1] ?? 0).toFixed(0)} ns median per request`,
  )
  if (answered < ROUNDS * REQUESTS) throw new Error(`only ${answered} answers`)
  proxy.connector.close()
  client.destroy()
}

const upstream = new MemoryStream()
upstream.onWritten = () => upstream.emit('data', response)
const peer = new HttpPeer('127.0.0.1:1', { connect: async () => upstream })
const other = new MemoryStream()
other.onWritten = () => other.emit('data', response)
const otherPeer = new HttpPeer('127.0.0.1:2', { connect: async () => other })
const third = new MemoryStream()
third.onWritten = () => third.emit('data', response)
const thirdPeer = new HttpPeer('127.0.0.1:3', { connect: async () => third })
const off = responseCompression({ gzipLevel: 0, brLevel: 0, zstdLevel: 0 })

console.log(`Node ${process.version}, ${cpus()[0]?.model ?? 'unknown CPU'}`)
await measure('bare proxy, 1 field', { upstreamPeer: () => peer }, request)
await measure('bare proxy, 11 fields', { upstreamPeer: () => otherPeer }, browser)
await measure(
  'with compression at level 0, 11 fields',
  { upstreamPeer: () => thirdPeer, initDownstreamModules: (modules) => void modules.add(off) },
  browser,
)
process.exitCode = 0
