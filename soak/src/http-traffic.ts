import { once } from 'node:events'
import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  type RequestOptions,
  request as requestHttp,
} from 'node:http'
import { request as requestHttps, Agent as TlsAgent } from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { expect, type Kind, type Place } from './traffic.ts'

const keepAlive = new Agent({ keepAlive: true, maxSockets: 32 })
const tlsKeepAlive = new TlsAgent({ keepAlive: true, maxSockets: 16, rejectUnauthorized: false })
const TIMEOUT_MS = 45_000

/** Ends the connections that are kept. */
export function closeHttp(): void {
  keepAlive.destroy()
  tlsKeepAlive.destroy()
}

function open(place: Place, options: RequestOptions): ClientRequest {
  return requestHttp({
    host: '127.0.0.1',
    port: place.ports.http,
    agent: false,
    timeout: TIMEOUT_MS,
    ...options,
  })
}

async function responseOf(request: ClientRequest): Promise<IncomingMessage> {
  const timer = setTimeout(
    () => request.destroy(new Error(`No response within ${TIMEOUT_MS} ms`)),
    TIMEOUT_MS,
  )
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return response
  } finally {
    clearTimeout(timer)
  }
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/**
 * A request without a body; its status and its body. It is sent again when its connection was closed while idle, as
 * every client of HTTP/1 must (RFC 9112 §9.3.1).
 */
export async function get(
  place: Place,
  path: string,
  options: RequestOptions = {},
): Promise<[number, Buffer]> {
  for (;;) {
    const request = open(place, { path, ...options }).end()
    try {
      const response = await responseOf(request)
      return [response.statusCode ?? 0, await bodyOf(response)]
    } catch (error) {
      if (!request.reusedSocket || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    }
  }
}

function answered(path: string, status: number, body?: string): Kind['run'] {
  return async (place) => {
    const [seen, bytes] = await get(place, path, { agent: keepAlive })
    expect(`status of ${path}`, seen, status)
    if (body !== undefined) expect(`body of ${path}`, bytes.toString(), body)
  }
}

async function upload(place: Place): Promise<void> {
  const request = open(place, { path: '/echo', method: 'POST', headers: { te: 'trailers' } })
  const response = responseOf(request)
  const chunk = Buffer.alloc(16_384, 'u')
  for (let count = 0; count < 16; count += 1) {
    if (!request.write(chunk)) await once(request, 'drain')
  }
  request.end()
  const received = await response
  expect('echoed bytes', (await bodyOf(received)).length, 16 * chunk.length)
  expect('trailer', received.trailers['x-bytes'], String(16 * chunk.length))
}

async function abortUpload(place: Place): Promise<void> {
  const request = open(place, { path: '/echo', method: 'POST', headers: { 'content-length': 1_000_000 } })
  request.on('error', () => {})
  request.write(Buffer.alloc(30_000))
  await once(request, 'socket')
  await delay(20)
  request.destroy()
}

async function abortDownload(place: Place): Promise<void> {
  const request = open(place, { path: '/download?bytes=4000000' }).end()
  const response = await responseOf(request)
  response.on('error', () => {})
  await once(response, 'data')
  request.destroy()
}

async function slowReader(place: Place): Promise<void> {
  const request = open(place, { path: '/download?bytes=2000000' }).end()
  const response = await responseOf(request)
  let bytes = 0
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length
    await delay(10)
  }
  expect('bytes of a slow reader', bytes, 2_000_000)
}

async function expectContinue(place: Place): Promise<void> {
  const headers = { expect: '100-continue', 'content-length': 4 }
  const request = open(place, { path: '/echo', method: 'POST', headers })
  request.flushHeaders()
  const response = responseOf(request)
  await once(request, 'continue')
  request.end('four')
  expect('body after 100', (await bodyOf(await response)).toString(), 'four')
}

async function earlyAnswer(place: Place): Promise<void> {
  const request = open(place, { path: '/early', method: 'POST', headers: { 'content-length': 20_000 } })
  request.on('error', () => {})
  request.flushHeaders()
  const response = await responseOf(request)
  expect('early status', response.statusCode, 403)
  response.resume()
  request.destroy()
}

async function compressed(place: Place): Promise<void> {
  const [, body] = await get(place, '/text', { headers: { 'accept-encoding': 'gzip' }, agent: keepAlive })
  expect('bytes of the text', gunzipSync(body).length, 18_000)
}

async function cutShort(place: Place): Promise<void> {
  const request = open(place, { path: '/short' }).end()
  const response = await responseOf(request)
  const ended = await bodyOf(response).then(
    () => 'complete',
    () => 'cut',
  )
  expect('a response that the origin cuts', ended, 'cut')
}

async function tls(place: Place, agent: TlsAgent | false): Promise<void> {
  const request = requestHttps({
    host: '127.0.0.1',
    port: place.ports.https,
    path: '/hello',
    agent,
    rejectUnauthorized: false,
    timeout: TIMEOUT_MS,
  }).end()
  const response = await responseOf(request)
  expect('body over TLS', (await bodyOf(response)).toString(), 'hello /hello')
}

/** HTTP/1, with how often each is sent in relation to the others. */
export const HTTP1_KINDS: readonly Kind[] = [
  { name: 'HTTP/1', weight: 20, run: answered('/hello', 200, 'hello /hello') },
  {
    name: 'HTTP/1, a new connection',
    weight: 6,
    run: async (place) => expect('status', (await get(place, '/new'))[0], 200),
  },
  { name: 'own answer', weight: 4, run: answered('/own', 200, 'own') },
  { name: 'upload, trailers', weight: 4, run: upload },
  { name: 'upload, aborted', weight: 3, run: abortUpload },
  {
    name: 'download',
    weight: 3,
    run: async (place) => {
      const [, body] = await get(place, '/download?bytes=1000000', { agent: keepAlive })
      expect('bytes of a download', body.length, 1_000_000)
    },
  },
  { name: 'download, aborted', weight: 3, run: abortDownload },
  { name: 'download, slow reader', weight: 1, run: slowReader },
  { name: '100-continue', weight: 2, run: expectContinue },
  { name: 'early response', weight: 2, run: earlyAnswer },
  { name: '103 before the response', weight: 2, run: answered('/hints', 200, 'hints') },
  { name: 'compression', weight: 2, run: compressed },
  { name: 'slow upstream', weight: 2, run: answered('/slow', 200, 'slow') },
  { name: 'upstream that hangs: 504', weight: 1, run: answered('/hang', 504) },
  { name: 'upstream that refuses: 502', weight: 2, run: answered('/dead', 502) },
  { name: 'upstream that resets: 502', weight: 2, run: answered('/reset', 502) },
  { name: 'upstream that talks rubbish: 502', weight: 2, run: answered('/garbage', 502) },
  { name: 'upstream that cuts its response', weight: 2, run: cutShort },
  { name: 'retry on another upstream', weight: 3, run: answered('/retry', 200, 'hello /retry') },
  { name: 'HTTP/2 upstream', weight: 4, run: answered('/two', 200) },
  { name: 'TLS', weight: 4, run: (place) => tls(place, tlsKeepAlive) },
  { name: 'TLS, a new handshake', weight: 2, run: (place) => tls(place, false) },
]
