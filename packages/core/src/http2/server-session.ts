import http2, { type ServerHttp2Stream } from 'node:http2'
import { ProxyError, peerError } from '@cirque/error'
import { bodylessStatus, type ResponseHeader } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { ConnectionDigest } from '../digest.ts'
import { bytesTaken } from '../http1/wire.ts'
import { ServerSession, WRITE_DONE, WRITE_FULL, WRITE_RETAINED, type WriteResult } from '../server-session.ts'
import { fieldRecord, responseFields } from './fields.ts'
import { type Http2RequestHead, readTrailers } from './request-head.ts'
import type { Http2ServerConnection } from './server-connection.ts'
import { fromSwitching, notSwitched, toUpgrade } from './websocket.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = http2.constants

const BODY_TIMER = 0
const WRITE_TIMER = 1

/** A body up to this many bytes is copied, so that its memory may be read into again at once. */
export const COPY_BYTES_MAX = 15_360

/**
 * For how many write timeouts a stream may take nothing while its connection does: the client's other streams
 * may come first.
 */
const WRITE_PERIODS_MAX = 4

/** How the response's body is told apart: by a length, by the stream's end, or there is none, or it is a tunnel. */
type ResponseFraming = 'unwritten' | 'none' | 'length' | 'until-end' | 'tunnel'

/** One HTTP/2 stream: a request and its response. */
export class Http2ServerSession extends ServerSession implements TimerOwner {
  private readonly connection: Http2ServerConnection
  private readonly stream: ServerHttp2Stream
  private readonly contentLength: number
  private readonly bodied: boolean
  private readonly continueWanted: boolean
  /** For an extended CONNECT: what accepts it; else null. */
  private readonly accept: string | null
  private flowing = false
  private listening = false
  /** END_STREAM has come and nothing is left to read. */
  private bodyEnded = false
  /** After an early response: body bytes are counted and dropped. */
  private discarding = false
  private discardedBytes = 0
  private trailers: string[] | null = null
  private framing: ResponseFraming = 'unwritten'
  private responseRemaining = 0
  /** The stream waits for trailers before it ends. */
  private trailersExpected = false
  private responseTrailers: string[] | null = null
  private trailersWanted = false
  private drainWanted = false
  private continued = false
  /** The client broke the exchange and the handler knows; a response may still be under way. */
  private failed = false
  /** The reset is no doing of the client's. */
  private resetByUs = false
  private bodyTimer: CoarseTimer | null = null
  private writeTimer: CoarseTimer | null = null
  private takenAtArm = 0
  private connectionTakenAtArm = 0
  private stalledPeriods = 0

  constructor(
    connection: Http2ServerConnection,
    stream: ServerHttp2Stream,
    head: Http2RequestHead,
    endOfStream: boolean,
  ) {
    super(head.header)
    this.connection = connection
    this.stream = stream
    this.accept = head.webSocket ? toUpgrade(head.header) : null
    this.contentLength = endOfStream || head.webSocket ? 0 : head.contentLength
    this.bodied = !endOfStream && head.contentLength !== 0 && !head.webSocket
    this.continueWanted = head.expectContinue && this.bodied
    stream.on('close', () => this.onClose())
    stream.on('drain', () => this.onDrain())
    if (!this.bodied && this.accept === null) return
    // Unlike data, these do not wait for the body to be asked for: the end of an empty one may have passed by then.
    stream.on('end', () => this.onEnd())
    stream.on('trailers', (_headers: unknown, _flags: number, raw?: string[]) => {
      this.trailers = raw === undefined ? null : readTrailers(raw)
    })
  }

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  get hasRequestBody(): boolean {
    return this.bodied
  }

  get requestContentLength(): number {
    return this.contentLength
  }

  get isUpgrade(): boolean {
    return this.accept !== null
  }

  get expectsContinue(): boolean {
    return this.continueWanted
  }

  get isShuttingDown(): boolean {
    return this.connection.isDraining
  }

  /** HTTP/2 connections carry requests side by side, so nothing is handed from one to the next. */
  get connectionContext(): unknown {
    return undefined
  }

  set connectionContext(_value: unknown) {}

  // --- the request's body ----------------------------------------------------------------------

  resumeRequestBody(): void {
    if (this.closed || this.flowing) return
    this.flowing = true
    if (this.requestEnded) return
    if (!this.bodied && this.framing !== 'tunnel') {
      this.endRequest()
      return
    }
    if (this.bodyEnded) {
      this.finishBody()
      return
    }
    if (this.framing !== 'tunnel') this.armBodyTimer()
    this.listen()
    this.stream.resume()
  }

  private listen(): void {
    if (this.listening) return
    this.listening = true
    const { stream } = this
    stream.on('data', (chunk: Buffer) => this.onData(chunk))
  }

  pauseRequestBody(): void {
    if (!this.flowing) return
    this.flowing = false
    if ((!this.bodied && this.framing !== 'tunnel') || this.requestEnded) return
    this.bodyTimer?.cancel()
    this.stream.pause()
  }

  private onData(chunk: Buffer): void {
    const { options } = this.connection.owner
    if (this.discarding) {
      this.discardedBytes += chunk.length
      if (this.discardedBytes > options.discardBytesMax) this.stream.close(NGHTTP2_NO_ERROR)
      return
    }
    if (this.closed || this.failed) return
    this.requestBodyBytes += chunk.length
    if (this.framing === 'tunnel') {
      this.handler?.onRequestData(chunk, 0, chunk.length)
      return
    }
    const limit = options.requestBodyBytesMax
    if (limit > 0 && this.requestBodyBytes > limit) {
      this.fail(peerError('BODY_TOO_LARGE', 'downstream', `Request body exceeds ${limit} bytes`), false)
      return
    }
    // The library resets the stream at this; a longer body than announced must not get through without it.
    if (this.contentLength >= 0 && this.requestBodyBytes > this.contentLength) {
      this.fail(peerError('H2_ERROR', 'downstream', 'Request body exceeds its Content-Length'), true)
      return
    }
    this.armBodyTimer()
    this.handler?.onRequestData(chunk, 0, chunk.length)
  }

  private onEnd(): void {
    const { stream } = this
    this.bodyTimer?.cancel()
    // A reset ends the readable side too: only END_STREAM ends a body. `onClose` tells of the rest.
    if (stream.aborted || stream.destroyed || this.discarding || this.closed || this.failed) return
    this.bodyEnded = true
    if (this.flowing) this.finishBody()
  }

  /** END_STREAM has come and everything before it was delivered. */
  private finishBody(): void {
    if (this.framing === 'tunnel') {
      this.endRequest()
      if (this.responseEnded) this.closed = true
      return
    }
    if (this.contentLength >= 0 && this.requestBodyBytes !== this.contentLength) {
      this.fail(peerError('H2_ERROR', 'downstream', 'Request body is shorter than its Content-Length'), true)
      return
    }
    this.endRequest()
  }

  private endRequest(): void {
    this.requestEnded = true
    this.handler?.onRequestEnd(this.trailers)
  }

  private armBodyTimer(): void {
    this.bodyTimer ??= new CoarseTimer(this, BODY_TIMER)
    this.bodyTimer.arm(this.connection.owner.options.bodyTimeoutMs)
  }

  /** The response is complete: what is left of the body is dropped, up to a limit. */
  private discardBody(): void {
    this.discarding = true
    this.armBodyTimer()
    this.listen()
    this.stream.resume()
  }

  // --- the response ----------------------------------------------------------------------------

  /** Of no effect: the connection's other requests go on. */
  disableKeepAlive(): void {}

  writeInformational(header: ResponseHeader): void {
    const { stream } = this
    if (this.closed || this.framing !== 'unwritten' || stream.destroyed || stream.closed) return
    if (header.status === 100) {
      if (this.continued) return
      this.continued = true
    }
    this.attempt(() => stream.additionalHeaders({ ...fieldRecord(header.fields), ':status': header.status }))
  }

  writeHead(header: ResponseHeader, contentLength: number): void {
    if (this.closed) return
    if (this.framing !== 'unwritten') throw new Error('The response head was already written')
    const { status } = header
    const { stream } = this
    this.responseStatus = status
    if (status === 101) {
      this.writeSwitching(header)
      return
    }
    if (this.accept !== null && status < 300) {
      this.refuseSwitching()
      return
    }
    const bodyless = this.request.method === 'HEAD' || bodylessStatus(status) || status === 205
    if (bodyless) this.framing = 'none'
    else this.framing = contentLength >= 0 ? 'length' : 'until-end'
    this.responseRemaining = bodyless || contentLength < 0 ? 0 : contentLength
    if (stream.destroyed || stream.closed) return // its 'close' event is on its way
    const { fields, trailersExpected } = responseFields(header, contentLength, bodyless)
    const endStream = bodyless || (contentLength === 0 && !trailersExpected)
    this.trailersExpected = trailersExpected && !bodyless
    if (this.trailersExpected) stream.once('wantTrailers', () => this.onWantTrailers())
    this.attempt(() =>
      stream.respond(fields as unknown as readonly string[], {
        endStream,
        waitForTrailers: this.trailersExpected,
      }),
    )
  }

  /** The upgrade is granted: the stream is a tunnel from now on (RFC 8441 §5). */
  private writeSwitching(header: ResponseHeader): void {
    const { stream, accept } = this
    const answer = accept === null ? null : fromSwitching(header, accept)
    if (answer === null) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', 'A 101 that accepts no WebSocket over HTTP/2'),
        true,
      )
      return
    }
    this.framing = 'tunnel'
    this.requestEnded = false
    this.flowing = false
    if (stream.destroyed || stream.closed) return // its 'close' event is on its way
    const { fields } = responseFields(answer, -1, false)
    this.attempt(() => stream.respond(fields as unknown as readonly string[]))
  }

  private refuseSwitching(): void {
    const { stream } = this
    this.responseStatus = 501
    this.framing = 'none'
    if (stream.destroyed || stream.closed) return // its 'close' event is on its way
    const { fields } = responseFields(notSwitched(), 0, false)
    this.attempt(() => stream.respond(fields as unknown as readonly string[], { endStream: true }))
  }

  /** The library throws for fields that it does not take; that is our fault or a filter's, and ends the stream. */
  private attempt(act: () => void): void {
    try {
      act()
    } catch (cause) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', 'Response cannot be written as HTTP/2', { cause }),
        true,
      )
    }
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    const { stream } = this
    if (this.closed || size === 0 || this.framing === 'none') return WRITE_DONE
    if (stream.destroyed || stream.writableEnded) return WRITE_DONE // its 'close' event is on its way
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
    const copied = size <= COPY_BYTES_MAX
    const whole = start === 0 && end === buffer.length
    const run = whole ? buffer : buffer.subarray(start, end)
    const room = stream.write(copied ? Buffer.from(run) : run)
    this.armWriteTimer()
    if (!room) {
      this.drainWanted = true
      return WRITE_FULL
    }
    return copied ? WRITE_DONE : WRITE_RETAINED
  }

  endResponse(trailers: string[] | null): void {
    if (this.responseEnded || this.closed) return
    if (this.framing === 'unwritten') {
      this.destroy(
        new ProxyError('INTERNAL_ERROR', 'internal', 'The response ended before its head was written'),
      )
      return
    }
    if (this.framing === 'length' && this.responseRemaining > 0) {
      this.destroy(
        new ProxyError(
          'PREMATURE_BODY_END',
          'internal',
          `Response body is ${this.responseRemaining} bytes short`,
        ),
      )
      return
    }
    this.responseEnded = true
    const { stream } = this
    if (this.framing === 'tunnel') {
      this.closed = this.requestEnded
      if (!stream.destroyed && !stream.writableEnded) stream.end()
      return
    }
    this.closed = true
    this.responseTrailers = trailers
    if (stream.destroyed || stream.closed) return
    if (!stream.writableEnded) stream.end()
    if (this.trailersWanted) this.sendTrailers()
    if ((this.bodied || this.accept !== null) && !this.requestEnded) this.discardBody()
  }

  /** All data is sent. It may come before `endResponse`, never twice. */
  private onWantTrailers(): void {
    this.trailersWanted = true
    if (this.responseEnded) this.sendTrailers()
  }

  private sendTrailers(): void {
    const { stream, responseTrailers } = this
    if (stream.destroyed || stream.closed) return
    try {
      stream.sendTrailers(responseTrailers === null ? {} : fieldRecord(responseTrailers))
    } catch {
      stream.close(NGHTTP2_INTERNAL_ERROR)
    }
  }

  /** Nothing is coalesced here: the library writes once per turn. */
  flush(): void {}

  private onDrain(): void {
    if (!this.drainWanted) return
    this.drainWanted = false
    if (!this.closed) this.handler?.onDownstreamDrain()
  }

  // --- timers ----------------------------------------------------------------------------------

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.stalledPeriods = 0
    this.watchWrites(this.writeTimer)
  }

  private watchWrites(timer: CoarseTimer): void {
    this.takenAtArm = this.taken
    this.connectionTakenAtArm = bytesTaken(this.connection.socket)
    timer.arm(this.connection.owner.options.writeTimeoutMs)
  }

  /** Body bytes that the library has taken from the stream's queue. */
  private get taken(): number {
    return this.responseBodyBytes - this.stream.writableLength
  }

  onTimer(tag: number): void {
    const { options } = this.connection.owner
    if (tag === WRITE_TIMER) this.onWriteTimer(options.writeTimeoutMs)
    else if (this.discarding) this.stream.close(NGHTTP2_NO_ERROR)
    else {
      this.fail(
        peerError(
          'REQUEST_TIMEOUT',
          'downstream',
          `Client sent nothing of its body for ${options.bodyTimeoutMs} ms`,
        ),
        false,
      )
    }
  }

  private onWriteTimer(ms: number): void {
    const { stream, writeTimer } = this
    if (stream.writableLength === 0 || writeTimer === null || stream.destroyed) return
    if (this.taken !== this.takenAtArm) this.stalledPeriods = 0
    else {
      const othersMove = bytesTaken(this.connection.socket) !== this.connectionTakenAtArm
      if (++this.stalledPeriods >= (othersMove ? WRITE_PERIODS_MAX : 1)) {
        const error = peerError('WRITE_TIMEOUT', 'downstream', `Client took nothing for ${ms} ms`)
        if (this.closed) stream.close(NGHTTP2_CANCEL)
        else this.fail(error, true)
        return
      }
    }
    this.watchWrites(writeTimer)
  }

  // --- the end ---------------------------------------------------------------------------------

  /**
   * The client broke the exchange, or we cannot go on with it. `dead` says that the stream is of no use any
   * more; otherwise a response may still be written.
   */
  private fail(error: ProxyError, dead: boolean): void {
    if (this.closed) return
    const known = this.failed
    this.failed = true
    this.flowing = false
    this.bodyTimer?.cancel()
    // An exchange whose response has begun cannot be answered any more: it ends here.
    if (dead || this.framing !== 'unwritten') {
      this.closed = true
      this.reset(error)
    } else this.stream.pause()
    if (!known) this.handler?.onDownstreamAbort(error)
  }

  destroy(error?: ProxyError): void {
    if (this.closed) return
    this.closed = true
    this.reset(error)
  }

  private reset(error: ProxyError | undefined): void {
    const { stream } = this
    if (stream.destroyed || stream.closed) return
    const theirs = error?.source === 'downstream'
    this.resetByUs = !theirs
    stream.close(theirs || error === undefined ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR)
  }

  private onClose(): void {
    this.bodyTimer?.cancel()
    this.writeTimer?.cancel()
    this.connection.streamClosed(this.responseEnded || this.resetByUs || this.framing === 'tunnel')
    if (!this.closed) this.fail(this.connection.closeReason(this.stream), true)
  }
}
