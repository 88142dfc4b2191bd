import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AS_LOCALHOST } from './certificate.ts'
import { until } from './waiting.ts'

/** One response as it came. */
export interface RawResponse {
  readonly status: number
  /** Status line and fields, without the empty line. */
  readonly head: string
  /** Values by lowercase name; several are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly trailers: string
}

/** A client of exact bytes. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket
  received = ''
  /** The other side has ended cleanly. */
  ended = false
  closed = false
  error: Error | null = null

  constructor(port: number, allowHalfOpen = true, tls = false) {
    const to = { port, host: '127.0.0.1', allowHalfOpen }
    this.socket = tls ? connectTls({ ...to, ...AS_LOCALHOST }) : createConnection(to)
    this.socket.setNoDelay(true)
    this.socket.on('data', (data) => {
      this.received += data.toString('latin1')
    })
    this.socket.on('end', () => {
      this.ended = true
    })
    this.socket.on('error', (error) => {
      this.error = error
    })
    this.socket.on('close', () => {
      this.closed = true
    })
  }

  write(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    return this
  }

  /** Waits until `text` has come, and takes everything up to its end. */
  async take(text: string): Promise<string> {
    await until(
      () => this.received.includes(text) || this.ended || this.closed,
      `no ${JSON.stringify(text)} in ${JSON.stringify(this.received.slice(0, 500))}`,
    )
    const at = this.received.indexOf(text)
    if (at < 0) throw new Error(`The connection ended after ${JSON.stringify(this.received.slice(0, 500))}`)
    const taken = this.received.slice(0, at + text.length)
    this.received = this.received.slice(at + text.length)
    return taken
  }

  /** Waits for one response, 1xx included, and takes it. */
  async response(options: { head?: boolean } = {}): Promise<RawResponse> {
    const head = (await this.take('\r\n\r\n')).slice(0, -4)
    const status = Number(head.slice(9, 12))
    const headers = fieldsOf(head)
    const base = { status, head, headers }
    if (options.head === true || status < 200 || status === 204 || status === 304) {
      return { ...base, body: '', trailers: '' }
    }
    const length = headers['content-length']
    if (length !== undefined) return { ...base, body: await this.#count(Number(length)), trailers: '' }
    if (headers['transfer-encoding'] !== 'chunked') {
      await this.end()
      return { ...base, body: this.#rest(), trailers: '' }
    }
    let body = ''
    for (;;) {
      const size = Number.parseInt(await this.take('\r\n'), 16)
      if (size === 0) break
      body += await this.#count(size)
      await this.take('\r\n')
    }
    let trailers = ''
    for (let line = await this.take('\r\n'); line !== '\r\n'; line = await this.take('\r\n')) trailers += line
    return { ...base, body, trailers }
  }

  /** Waits until the other side has closed, cleanly or not. */
  end(): Promise<void> {
    return until(
      () => this.ended || this.closed,
      `still open after ${JSON.stringify(this.received.slice(0, 500))}`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.closed) await once(this.socket, 'close')
  }

  async #count(bytes: number): Promise<string> {
    await until(
      () => this.received.length >= bytes || this.ended || this.closed,
      `${bytes} bytes wanted, ${this.received.length} came`,
    )
    if (this.received.length < bytes)
      throw new Error(`The body is cut at ${this.received.length} of ${bytes}`)
    const taken = this.received.slice(0, bytes)
    this.received = this.received.slice(bytes)
    return taken
  }

  #rest(): string {
    const rest = this.received
    this.received = ''
    return rest
  }
}

function fieldsOf(head: string): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const line of head.split('\r\n').slice(1)) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  return headers
}

/** Sends `bytes`, waits for the connection's end, and gives what came. */
export async function exchange(port: number, bytes: string): Promise<string> {
  await using client = new RawClient(port)
  client.write(bytes)
  await client.end()
  return client.received
}

/** One request on a connection of its own, and its final response. */
export async function ask(port: number, bytes: string): Promise<RawResponse> {
  await using client = new RawClient(port)
  client.write(bytes)
  for (;;) {
    const response = await client.response({ head: bytes.startsWith('HEAD ') })
    if (response.status >= 200 || response.status === 101) return response
  }
}

/** A GET request's bytes. */
export function get(target = '/', ...fields: readonly string[]): string {
  return `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`
}
