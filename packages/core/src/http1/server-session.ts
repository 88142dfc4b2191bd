import { ProxyError, peerError } from '@cirque/error'
import {
  bodylessStatus,
  ChunkedDecoder,
  type ChunkSink,
  encodeChunkHead,
  HEAD_FAILED,
  latin1,
  type RequestHeadParser,
  type ResponseHeader,
} from '@cirque/http'
import type { ConnectionDigest } from '../digest.ts'
import { RequestRuns, type RequestRunsOwner } from '../downstream/request-runs.ts'
import { ServerSession } from '../downstream/server-session.ts'
import {
  isMemoryFree,
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../write-result.ts'
import { responseHeadText, statusLine, unframedFieldsText } from './head-writer.ts'
import type { Http1ServerConnection } from './server-connection.ts'
import { RUNS_PER_TURN_MAX, TEXT_BODY_BYTES_MAX, trailersToWire, writeGathered } from './wire.ts'

/** How the response's body is framed (RFC 9112 §6). */
type ResponseFraming = 'unwritten' | 'none' | 'length' | 'chunked' | 'until-close' | 'tunnel'

/** What TLS brings without a length is gathered from this size on: a message alone does not wait. */
const GATHERED_BYTES_MIN = 8_192

/** One HTTP/1 request and its response. */
export class Http1ServerSession extends ServerSession implements ChunkSink, RequestRunsOwner {
  /** True while the handler wants body bytes. */
  flowing = false
  /** What the turn has brought of the body over TLS; null until there is any. */
  private runs: RequestRuns | null = null
  /** The present read is gathered with others of its turn. */
  private gathering = false
  /** Runs of body bytes that the present read brought. */
  runCount = 0

  private readonly connection: Http1ServerConnection
  private readonly contentLength: number
  private readonly chunked: boolean
  /** The client means to send more after this request: it may be on its way already. */
  readonly clientKeepAlive: boolean
  private readonly upgradeWanted: boolean
  private readonly connectWanted: boolean
  private readonly continueWanted: boolean
  private bodyRemaining: number
  private decoder: ChunkedDecoder | null = null
  /** After an early response: body bytes are counted and dropped. */
  private discarding = false
  private keepAlive: boolean
  private framing: ResponseFraming = 'unwritten'
  private responseRemaining = 0
  /** Text that goes out with the next write: the head, small bodies, chunk framing. */
  private text = ''
  private drainWanted = false
  private continued = false
  /** The client broke the exchange and the handler knows; a response may still be under way. */
  private failed = false

  constructor(connection: Http1ServerConnection, parser: RequestHeadParser) {
    super(parser.takeHeader())
    this.connection = connection
    this.contentLength = parser.contentLength
    this.chunked = parser.chunked
    this.clientKeepAlive = parser.keepAlive
    this.continueWanted = parser.expectContinue
    this.bodyRemaining = Math.max(parser.contentLength, 0)
    // A request with a body is never switched: its body would have to be read first (RFC 9110 §7.8).
    this.connectWanted = this.request.method === 'CONNECT'
    this.upgradeWanted =
      (parser.upgrade || this.connectWanted) && !parser.chunked && parser.contentLength <= 0
    // What follows a CONNECT may be meant for the tunnel already: if none is opened, it is read as nothing else.
    this.keepAlive = parser.keepAlive && !this.connectWanted
  }

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  get hasRequestBody(): boolean {
    return this.chunked || this.contentLength > 0
  }

  /** True when the client owes nothing more of this request. */
  get requestComplete(): boolean {
    return this.requestEnded || !this.hasRequestBody
  }

  get requestContentLength(): number {
    return this.chunked ? -1 : Math.max(this.contentLength, 0)
  }

  get isUpgrade(): boolean {
    return this.upgradeWanted
  }

  get expectsContinue(): boolean {
    return this.continueWanted
  }

  /**
   * The response has begun, no 100 went out and nothing of the body came: the client may keep the body back
   * (RFC 9110 §10.1.1), so nobody can say what its next bytes are.
   */
  get bodyDoubtful(): boolean {
    return (
      this.framing !== 'unwritten' && this.bodyOpen && this.hasRequestBody && this.connection.holdsNothing
    )
  }

  /** The client waits for a 100 that has not been sent, and has sent nothing of its body. */
  private get bodyOpen(): boolean {
    return this.continueWanted && !this.continued && this.requestBodyBytes === 0 && this.decoder === null
  }

  get isShuttingDown(): boolean {
    return this.connection.owner.draining
  }

  get connectionContext(): unknown {
    return this.connection.userContext
  }

  set connectionContext(value: unknown) {
    this.connection.userContext = value
  }

  // --- the request's body ----------------------------------------------------------------------

  resumeRequestBody(): void {
    if (this.closed || this.flowing) return
    this.flowing = true
    if (this.wantsRuns) this.runs?.pass()
    if (this.closed || !this.flowing) return
    if (!this.hasRequestBody && !this.requestEnded && this.framing !== 'tunnel') {
      this.endRequest(null)
      return
    }
    if (!this.requestEnded) this.connection.armBodyTimer()
    this.connection.wantBody()
  }

  pauseRequestBody(): void {
    // The timer may be the next request's already.
    if (!this.flowing || this.closed) return
    this.flowing = false
    this.connection.pauseBodyTimer()
  }

  /**
   * True if the `size` bytes of a read that come next are copied together with others of their turn. TLS hands over 16
   * KiB at a time, too little to write each upstream by itself.
   */
  gathers(size: number): boolean {
    if (!this.connection.encrypted) return false
    const goesOn = this.bodyRemaining > size || (size >= GATHERED_BYTES_MIN && this.contentLength <= 0)
    this.gathering = goesOn || this.runs?.isEmpty === false
    return this.gathering
  }

  get wantsRuns(): boolean {
    return this.flowing && !this.closed && !this.failed && !this.discarding
  }

  passRun(buffer: Buffer, start: number, end: number): WriteResult | undefined {
    return this.handler?.onRequestData(buffer, start, end)
  }

  /** Hands on body bytes, now or at the end of the turn. */
  private handOn(chunk: Buffer, start: number, end: number): void {
    if (this.gathering) {
      this.runs ??= new RequestRuns(this)
      this.runs.add(chunk, start, end)
    } else if (!isMemoryFree(this.handler?.onRequestData(chunk, start, end))) this.connection.keepChunk()
  }

  /** Takes body bytes from `[at, end)`; returns the offset after those that belong to this request. */
  feed(chunk: Buffer, at: number, end: number): number {
    if (this.chunked) return this.feedChunked(chunk, at, end)
    const after = Math.min(end, at + this.bodyRemaining)
    this.bodyRemaining -= after - at
    if (after > at) this.onChunkData(chunk, at, after)
    if (this.bodyRemaining === 0) this.endRequest(null)
    else if (!this.closed && this.flowing) this.connection.armBodyTimer()
    return after
  }

  private feedChunked(chunk: Buffer, at: number, end: number): number {
    this.decoder ??= new ChunkedDecoder()
    const decoder = this.decoder
    const after = decoder.execute(chunk, at, end, this, RUNS_PER_TURN_MAX)
    if (after === HEAD_FAILED) {
      const code = decoder.failure?.code ?? 'INVALID_CHUNK'
      this.fail(
        peerError('INVALID_CHUNK', 'downstream', `Request body is not valid chunked coding (${code})`),
        false,
      )
      return end
    }
    if (after >= 0) {
      this.endRequest(decoder.trailers)
      return after
    }
    if (!this.closed && this.flowing) this.connection.armBodyTimer()
    return decoder.stoppedAt < 0 ? end : decoder.stoppedAt
  }

  /** Called for each run of payload, also by the chunk decoder. */
  onChunkData(chunk: Buffer, start: number, end: number): void {
    this.runCount++
    if (this.closed || this.failed) return
    this.requestBodyBytes += end - start
    const limit = this.connection.owner.options.requestBodyBytesMax
    if (limit > 0 && this.requestBodyBytes > limit) {
      this.fail(peerError('BODY_TOO_LARGE', 'downstream', `Request body exceeds ${limit} bytes`), false)
      return
    }
    if (!this.discarding) this.handOn(chunk, start, end)
  }

  private endRequest(trailers: string[] | null): void {
    if (!this.closed && !this.failed && !this.discarding) this.runs?.pass()
    if (this.requestEnded || this.failed || (this.closed && !this.discarding)) return
    this.requestEnded = true
    this.connection.cancelBodyTimer()
    if (!this.discarding) this.handler?.onRequestEnd(trailers)
  }

  /** The response is complete: what is left of the body is dropped. */
  discardBody(): void {
    this.discarding = true
    this.flowing = true
  }

  // --- the response ----------------------------------------------------------------------------

  disableKeepAlive(): void {
    this.keepAlive = false
  }

  writeInformational(header: ResponseHeader): void {
    if (this.closed || this.framing !== 'unwritten' || this.request.version === 'HTTP/1.0') return
    if (header.status === 100) {
      if (this.continued) return
      this.continued = true
    }
    const text = `${statusLine(header.status, header.reason)}${unframedFieldsText(header, false)}\r\n`
    this.connection.socket.write(text, 'latin1')
  }

  writeHead(header: ResponseHeader, contentLength: number): void {
    if (this.closed) return
    if (this.framing !== 'unwritten') throw new Error('The response head was already written')
    const status = header.status
    this.responseStatus = status
    if (status === 101) {
      this.writeSwitching(header)
      return
    }
    const bodyless = this.request.method === 'HEAD' || bodylessStatus(status)
    if (bodyless) this.framing = 'none'
    else if (contentLength >= 0) this.framing = 'length'
    else this.framing = this.request.version === 'HTTP/1.0' ? 'until-close' : 'chunked'
    this.responseRemaining = bodyless || contentLength < 0 ? 0 : contentLength
    this.keepAlive = this.mayKeepAlive()

    let text = responseHeadText(header, contentLength, bodyless, this.framing === 'chunked')
    if (!this.keepAlive) text += 'Connection: close\r\n'
    else if (this.request.version === 'HTTP/1.0') text += 'Connection: keep-alive\r\n'
    this.text += `${text}\r\n`
  }

  /** Whether the connection can carry another request after this response (RFC 9112 §9.3). */
  private mayKeepAlive(): boolean {
    const { owner, requestCount } = this.connection
    return (
      this.keepAlive &&
      this.clientKeepAlive &&
      this.framing !== 'until-close' &&
      !owner.draining &&
      requestCount < owner.options.requestsPerConnectionMax &&
      (this.requestComplete || this.discardable())
    )
  }

  /** True when what is left of the body is known to be small enough to read and drop. */
  private discardable(): boolean {
    // A client that still waits for its 100 may or may not send the body: only closing is unambiguous.
    if (this.bodyOpen) return false
    return !this.chunked && this.bodyRemaining <= this.connection.owner.options.discardBytesMax
  }

  private writeSwitching(header: ResponseHeader): void {
    this.framing = 'tunnel'
    this.keepAlive = false
    // RFC 9110 §9.3.6: any 2xx opens the tunnel that CONNECT asks for.
    const { connectWanted } = this
    const line = connectWanted
      ? 'HTTP/1.1 200 Connection Established\r\n'
      : `HTTP/1.1 101 ${header.reason || 'Switching Protocols'}\r\n`
    // In the answer to CONNECT `Upgrade` would say nothing.
    const text = line + unframedFieldsText(header, !connectWanted)
    this.text += connectWanted ? `${text}\r\n` : `${text}Connection: upgrade\r\n\r\n`
    if (connectWanted) this.responseStatus = 200
    this.connection.startTunnel()
    this.requestEnded = false
    // What the client sent ahead is held; it flows when the handler asks for it.
    this.flowing = false
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    let size = end - start
    if (this.closed || size === 0 || this.framing === 'none') return WRITE_DONE
    if (this.framing === 'length') {
      if (size > this.responseRemaining) {
        this.fail(
          new ProxyError('INTERNAL_ERROR', 'internal', 'Response body exceeds its Content-Length'),
          true,
        )
        return WRITE_DONE
      }
      this.responseRemaining -= size
    }
    this.responseBodyBytes += size
    const chunked = this.framing === 'chunked'
    if (size <= TEXT_BODY_BYTES_MAX) {
      const body = latin1(buffer, start, end)
      this.text += chunked ? `${encodeChunkHead(size)}${body}\r\n` : body
      size = this.text.length
      if (size > TEXT_BODY_BYTES_MAX) return this.flushText()
      // The last flush filled the queue, which nobody could be told then.
      return this.drainWanted ? WRITE_PAUSE : WRITE_DONE
    }
    const { socket, encryptsAtOnce } = this.connection
    const queued = socket.writableLength > 0
    const head = chunked ? this.text + encodeChunkHead(size) : this.text
    this.text = ''
    if (encryptsAtOnce && !queued) {
      if (head === '')
        socket.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
      if (head === '' || writeGathered(socket, head, buffer, start, end, chunked ? '\r\n' : '')) {
        // What was written is out of the stream's hands, but it takes the next write only in the next turn.
        this.connection.armWriteTimer()
        return WRITE_DONE
      }
    }
    const corked = head !== '' || chunked
    if (corked) socket.cork()
    if (head !== '') socket.write(head, 'latin1')
    socket.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
    if (chunked) socket.write('\r\n', 'latin1')
    if (corked) socket.uncork()
    return this.afterWrite(queued || socket.writableLength > 0)
  }

  endResponse(trailers: string[] | null): void {
    if (this.responseEnded || this.closed) return
    if (this.framing === 'tunnel') {
      this.endTunnelWrites()
      return
    }
    if (this.framing === 'unwritten') {
      this.destroy(
        new ProxyError('INTERNAL_ERROR', 'internal', 'The response ended before its head was written'),
      )
      return
    }
    this.responseEnded = true
    if (this.framing === 'chunked') this.text += `0\r\n${this.trailersText(trailers)}\r\n`
    if (this.framing === 'length' && this.responseRemaining > 0) {
      // The client must see that the body is short: nothing but the end of the connection says so.
      this.flushText()
      this.destroy(
        new ProxyError(
          'PREMATURE_BODY_END',
          'internal',
          `Response body is ${this.responseRemaining} bytes short`,
        ),
      )
      return
    }
    this.flushText()
    this.closed = true
    this.connection.sessionEnded(this, this.keepAlive)
  }

  /** Trailers go only to a client that said it takes them (RFC 9110 §6.5.1). */
  private trailersText(trailers: string[] | null): string {
    if (trailers === null || trailers.length === 0) return ''
    const te = this.request.get('te')
    return te !== undefined && /(?:^|[,\s])trailers(?:$|[,;\s])/i.test(te) ? trailersToWire(trailers) : ''
  }

  flush(): void {
    if (this.text !== '' && !this.closed) this.flushText()
  }

  private flushText(): WriteResult {
    const text = this.text
    if (text === '') return WRITE_DONE
    this.text = ''
    const socket = this.connection.socket
    socket.write(text, 'latin1')
    return this.afterWrite(false)
  }

  private afterWrite(retained: boolean): WriteResult {
    const socket = this.connection.socket
    if (socket.writableLength === 0) return WRITE_DONE
    this.connection.armWriteTimer()
    if (socket.writableNeedDrain) {
      this.drainWanted = true
      return retained ? WRITE_FULL : WRITE_PAUSE
    }
    return retained ? WRITE_RETAINED : WRITE_DONE
  }

  drained(): void {
    if (!this.drainWanted || this.closed) return
    this.drainWanted = false
    this.handler?.onDownstreamDrain()
  }

  // --- the tunnel ------------------------------------------------------------------------------

  /** Hands all of `[at, end)` on. */
  feedTunnel(chunk: Buffer, at: number, end: number): number {
    this.requestBodyBytes += end - at
    this.handOn(chunk, at, end)
    return end
  }

  /** The client has ended its side of the tunnel. */
  tunnelEnded(): void {
    if (!this.closed) this.runs?.pass()
    if (this.closed || this.requestEnded) return
    this.requestEnded = true
    this.handler?.onRequestEnd(null)
    if (this.responseEnded) this.finishTunnel()
  }

  private endTunnelWrites(): void {
    this.responseEnded = true
    this.flushText()
    this.connection.socket.end()
    if (this.requestEnded) this.finishTunnel()
  }

  private finishTunnel(): void {
    this.closed = true
    this.connection.endTunnel()
  }

  // --- the end ---------------------------------------------------------------------------------

  /**
   * The client broke the exchange. `dead` says that its connection is of no use any more; otherwise a
   * response may still be written, after which the connection closes.
   */
  fail(error: ProxyError, dead: boolean): void {
    if (this.closed) return
    const known = this.failed
    this.failed = true
    this.keepAlive = false
    this.flowing = false
    // An exchange whose response has begun cannot be answered any more: it ends here.
    if (dead || this.framing !== 'unwritten') {
      this.closed = true
      this.text = ''
      this.connection.destroy(error)
    }
    if (!known) this.handler?.onDownstreamAbort(error)
  }

  destroy(error?: ProxyError): void {
    if (this.closed) return
    this.closed = true
    this.text = ''
    // Where the end of the connection is the end of the data, only a reset tells a cut from a whole.
    const open = this.framing === 'until-close' || this.framing === 'tunnel'
    this.connection.destroy(error, open && !this.responseEnded)
  }
}
