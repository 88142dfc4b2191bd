import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import tls from 'node:tls'
import type { ProxyError } from '@cirque/error'
import { RequestHeader, type ResponseHeader } from '@cirque/http'
import {
  type ClientSession,
  type ClientSessionHandler,
  Connector,
  type ConnectorOptions,
  HttpPeer,
  type HttpPeerOptions,
  WRITE_DONE,
  type WriteResult,
} from '../../src/index.ts'
import { turn } from './raw-client.ts'

/** What an upstream does with a connection. */
export type Script = (socket: Socket, index: number) => void

/** An upstream that sends exact bytes. Its sockets are destroyed at the end of its scope. */
export class Upstream implements AsyncDisposable {
  readonly server: Server
  readonly sockets: Socket[] = []

  constructor(script: Script, options?: tls.TlsOptions) {
    const onSocket = (socket: Socket): void => {
      const index = this.sockets.push(socket) - 1
      socket.on('error', () => undefined)
      script(socket, index)
    }
    this.server =
      options === undefined
        ? net.createServer({ allowHalfOpen: true, noDelay: true }, onSocket)
        : tls.createServer(options, onSocket)
    this.server.on('tlsClientError', () => undefined)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  peer(options?: HttpPeerOptions): HttpPeer {
    return new HttpPeer(this.address, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, 'close')
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
    await closed
  }
}

export async function startUpstream(script: Script, options?: tls.TlsOptions): Promise<Upstream> {
  const upstream = new Upstream(script, options)
  upstream.server.listen(0, '127.0.0.1')
  await once(upstream.server, 'listening')
  return upstream
}

/** An upstream that answers each request head that arrives with the next of `answers`, the last one again and again. */
export function answering(...answers: (string | Buffer)[]): Script {
  let count = 0
  return (socket) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        text = text.slice(end + 4)
        const answer = answers[Math.min(count++, answers.length - 1)] ?? ''
        socket.write(typeof answer === 'string' ? Buffer.from(answer, 'latin1') : answer)
      }
    })
    socket.on('end', () => socket.end())
  }
}

/** A connector whose disposal checks that nothing stays open. */
export class TestConnector extends Connector implements AsyncDisposable {
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    if (this.stats().open !== 0) throw new Error(`${this.stats().open} connections are still open`)
    await turn()
  }
}

export function startConnector(options?: ConnectorOptions): TestConnector {
  return new TestConnector(options)
}

/** Keeps all that an exchange brings. */
export class Recorder implements ClientSessionHandler {
  readonly informational: number[] = []
  head: ResponseHeader | undefined
  contentLength: number | undefined
  trailers: string[] | null = null
  body = ''
  bodyBytes = 0
  digest: string | undefined
  error: ProxyError | undefined
  drains = 0
  ended = false
  /** What `onResponseData` answers. */
  result: WriteResult = WRITE_DONE
  readonly done: Promise<this>
  #settle: (() => void) | undefined
  readonly #keep: boolean
  readonly #hash = createHash('sha256')

  constructor(keep: boolean = true) {
    this.#keep = keep
    this.done = new Promise((resolve) => {
      this.#settle = () => resolve(this)
    })
  }
  onInformational(header: ResponseHeader): void {
    this.informational.push(header.status)
  }
  onResponseHead(header: ResponseHeader, contentLength: number): void {
    if (this.head !== undefined) throw new Error('A second head')
    this.head = header
    this.contentLength = contentLength
  }
  onResponseData(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.head === undefined || this.ended) throw new Error('Data out of place')
    this.bodyBytes += end - start
    if (this.#keep) this.body += buffer.toString('latin1', start, end)
    else this.#hash.update(buffer.subarray(start, end))
    return this.result
  }
  onResponseEnd(trailers: string[] | null): void {
    if (this.ended) throw new Error('A second end')
    this.ended = true
    this.trailers = trailers
    if (!this.#keep) this.digest = this.#hash.digest('hex')
    this.#settle?.()
  }
  onResponseFlush(): void {}
  onUpstreamDrain(): void {
    this.drains++
  }
  onUpstreamError(error: ProxyError): void {
    if (this.error !== undefined || this.ended) throw new Error('An error after the end')
    this.error = error
    this.#settle?.()
  }
}

export function requestOf(
  method: string,
  target: string = '/',
  fields: [string, string][] = [],
): RequestHeader {
  return RequestHeader.build(method, target, [['Host', 'a'], ...fields])
}

/** Sends a request without a body over a session. */
export function send(session: ClientSession, method: string = 'GET', upgrade: boolean = false): Recorder {
  const recorder = new Recorder()
  session.handler = recorder
  session.sendHead(requestOf(method, '/', upgrade ? [['Upgrade', 'echo']] : []), 0, upgrade)
  session.endRequest(null)
  return recorder
}

/** One request and its response; the session is released, or gone. */
export async function fetchOver(
  connector: Connector,
  peer: HttpPeer,
  method: string = 'GET',
): Promise<Recorder> {
  const session = await connector.session(peer)
  const recorder = await send(session, method).done
  if (recorder.error === undefined) connector.release(session)
  return recorder
}
