import { once } from 'node:events'
import http2, { type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2'

/** An HTTP/2 client of Node's own; cut at the end of its scope. */
export class Http2Client implements AsyncDisposable {
  readonly session: ClientHttp2Session

  constructor(port: number) {
    this.session = http2.connect(`http://127.0.0.1:${port}`)
    this.session.on('error', () => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.session.destroyed && this.session.socket === undefined) return
    const closed = once(this.session, 'close')
    this.session.destroy()
    await closed
  }
}

export interface Http2Answer {
  readonly status: number
  readonly headers: http2.IncomingHttpHeaders
  readonly informational: number[]
  readonly trailers: http2.IncomingHttpHeaders | null
  readonly body: string
  /** How the stream ended: 0 for a whole one. */
  readonly code: number
}

/** Collects what comes on a stream until it is closed. */
export async function collect(stream: ClientHttp2Stream): Promise<Http2Answer> {
  let headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
  let trailers: http2.IncomingHttpHeaders | null = null
  const informational: number[] = []
  let body = ''
  stream.on('error', () => undefined)
  stream.on('headers', (given) => informational.push(given[':status'] ?? 0))
  stream.on('response', (given) => {
    headers = given
  })
  stream.on('trailers', (given) => {
    trailers = given
  })
  stream.on('data', (chunk: Buffer) => {
    body += chunk.toString('latin1')
  })
  await new Promise((resolve) => stream.once('close', resolve))
  return {
    status: headers[':status'] ?? 0,
    headers,
    informational,
    trailers,
    body,
    code: stream.rstCode ?? 0,
  }
}

/** One request and its whole answer. */
export function ask(client: Http2Client, headers: OutgoingHttpHeaders, body?: string): Promise<Http2Answer> {
  const stream = client.session.request(headers, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return collect(stream)
}
