// A load generator for machines without wrk, and for measurements shorter than a second:
//   node generator.ts PORT PATH CONNECTIONS MODE SECONDS UPLOAD_BYTES [TLS_GROUPS]
// Prints one line of JSON. It takes about as much CPU as the proxy under test: mind the pinning.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { LoadResult } from '../load-target.ts'
import { dial } from '../network.ts'
import { Histogram } from '../statistics.ts'

const [portText, path, connectionsText, mode, secondsText, uploadText, groups] = process.argv.slice(2)
const port = Number(portText)
const keepAlive = mode === 'keep-alive' || mode === 'upload'
const uploadBytes = Number(uploadText)
const method = uploadBytes > 0 ? 'POST' : 'GET'
const lengthField = uploadBytes > 0 ? `Content-Length: ${uploadBytes}\r\n` : ''
const connection = keepAlive ? '' : 'Connection: close\r\n'
const requestHead = `${method} ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n${lengthField}${connection}\r\n`
const request = Buffer.from(requestHead + 'x'.repeat(uploadBytes), 'latin1')
/** How long to wait for the first response, if the time is up before. */
const FIRST_RESPONSE_MS = 10_000
const latencies = new Histogram()
const sockets = new Set<Socket>()
const result: LoadResult = { requests: 0, bytes: 0, seconds: 0, p50Micros: 0, p99Micros: 0, errors: 0 }
let stopped = false

/** One connection: sends, counts the response's bytes, sends again. With a session it has to resume that. */
function open(session?: Buffer): void {
  const socket = dial(port, groups, session)
  sockets.add(socket)
  let sentAt = performance.now()
  let head = ''
  let missing = 0
  let next = session
  if (mode === 'resume') socket.on('session', (given: Buffer) => (next = given))
  function finish(): void {
    result.requests += 1
    if (session !== undefined && !(socket as TLSSocket).isSessionReused()) result.errors += 1
    latencies.add((performance.now() - sentAt) * 1_000)
    head = ''
    if (!keepAlive) {
      socket.destroy()
    } else if (!stopped) {
      sentAt = performance.now()
      socket.write(request)
    }
  }
  socket.setNoDelay(true)
  socket.write(request)
  socket.on('data', (chunk) => {
    result.bytes += chunk.length
    if (missing > 0) {
      missing -= chunk.length
    } else {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      if (!head.startsWith('HTTP/1.1 200')) result.errors += 1
      const length = Number(/\r\ncontent-length:\s*(\d+)/i.exec(head.slice(0, end))?.[1] ?? 0)
      missing = end + 4 + length - head.length
    }
    if (missing < 0) result.errors += 1
    if (missing <= 0) {
      missing = 0
      finish()
    }
  })
  socket.on('error', () => {
    if (!stopped) result.errors += 1
  })
  socket.on('close', () => {
    sockets.delete(socket)
    if (!stopped && (head !== '' || missing > 0)) result.errors += 1
    // Not in the same turn: a server that refuses must not spin us.
    if (!stopped) setImmediate(open, next)
  })
}

const startedAt = performance.now()
for (let count = Number(connectionsText); count > 0; count -= 1) open()
setTimeout(report, Number(secondsText) * 1_000)

/** Tells what was seen; on a machine so busy that there is nothing to tell yet, a little later. */
function report(): void {
  const elapsedMs = performance.now() - startedAt
  if (result.requests === 0 && elapsedMs < FIRST_RESPONSE_MS) {
    setTimeout(report, 50)
    return
  }
  stopped = true
  result.seconds = elapsedMs / 1_000
  result.p50Micros = latencies.percentile(0.5)
  result.p99Micros = latencies.percentile(0.99)
  process.stdout.write(`${JSON.stringify(result)}\n`)
  for (const socket of sockets) socket.destroy()
}
