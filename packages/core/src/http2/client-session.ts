import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import type { Duplex } from 'node:stream'
import { fromSystemError, ProxyError, peerError, type RetryDecision } from '@cirque/error'
import { bodylessStatus, type RequestHeader } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { ClientSession } from '../client-session.ts'
import type { ConnectionDigest } from '../digest.ts'
import type { HttpPeer } from '../peer.ts'
import { WRITE_DONE, WRITE_FULL, WRITE_RETAINED, type WriteResult } from '../server-session.ts'
import type { Http2ClientConnection } from './client-connection.ts'
import { fieldRecord, requestFields } from './fields.ts'
import { readTrailers } from './request-head.ts'
import { readResponseHead } from './response-head.ts'
import { COPY_BYTES_MAX } from './server-session.ts'

const {
  NGHTTP2_CANCEL,
  NGHTTP2_FLAG_END_STREAM,
  NGHTTP2_HTTP_1_1_REQUIRED,
  NGHTTP2_NO_ERROR,
  NGHTTP2_PROTOCOL_ERROR,
} = http2.constants

const READ_TIMER = 0
const WRITE_TIMER = 1

/** One HTTP/2 stream to a peer: a request and its response. */
export class Http2ClientSession extends ClientSession implements TimerOwner {
  private readonly connection: Http2ClientConnection
  private readonly session: ClientHttp2Session
  private readonly peer: HttpPeer
  private stream: ClientHttp2Stream | null = null
  private closed = false
  private streamError: Error | null = null
  /** The connection knows that this session's slot is free again. */
  private slotFree = false
  private method = ''
  private informationalCount = 0
  private responseLength = -1
  private bodyless = false
  /** END_STREAM has come: what follows the end of the stream is a reset without meaning. */
  private endSeen = false
  private headSeen = false
  private trailers: string[] | null = null
  /** Bytes of the announced request body still to come; -1 when its length is not known. */
  private requestRemaining = 0
  private requestBodyBytes = 0
  private requestTrailers: string[] | null = null
  private trailersExpected = false
  private trailersWanted = false
  private drainWanted = false
  private paused = false
  private flushScheduled = false
  private readonly readTimer: CoarseTimer
  private writeTimer: CoarseTimer | null = null
  private takenAtArm = 0

  constructor(
    connection: Http2ClientConnection,
    session: ClientHttp2Session,
    peer: HttpPeer,
    reused: boolean,
  ) {
    super()
    this.connection = connection
    this.session = session
    this.peer = peer
    this.reused = reused
    this.readTimer = new CoarseTimer(this, READ_TIMER)
  }

  digest(): ConnectionDigest {
    return this.connection.digest()
  }

  // --- the request -----------------------------------------------------------------------------

  sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void {
    if (this.closed) return
    if (upgrade) {
      this.failSoon(
        new ProxyError('TUNNEL_REFUSED', 'internal', `The HTTP/2 peer ${this.peer} carries no upgrades`, {
          status: 501,
        }),
      )
      return
    }
    const { options, address } = this.peer
    this.method = header.method
    this.requestRemaining = contentLength
    const authority = address?.kind === 'tcp' ? address.text : 'localhost'
    const { fields, trailersExpected } = requestFields(
      header,
      contentLength,
      options.tls ? 'https' : 'http',
      authority,
      null,
    )
    const endStream = contentLength === 0 && !trailersExpected
    this.trailersExpected = trailersExpected
    let stream: ClientHttp2Stream
    try {
      stream = this.session.request(fields, { endStream, waitForTrailers: trailersExpected })
    } catch (cause) {
      this.failSoon(
        new ProxyError('INTERNAL_ERROR', 'internal', 'Request cannot be written as HTTP/2', { cause }),
      )
      return
    }
    this.requestSent = true
    this.stream = stream
    this.listen(stream)
    // The peer owes an answer (100 or a final one) before any body: wait for it with a limit.
    if (contentLength !== 0 && header.has('expect')) this.armReadTimer()
  }

  private listen(stream: ClientHttp2Stream): void {
    stream.on('error', (error: Error) => {
      this.streamError = error // told by 'close', which follows
    })
    stream.on('headers', (_headers, _flags, raw) => this.onInformational(raw ?? []))
    stream.on('response', (_headers, flags, raw) => this.onHead(raw ?? [], flags))
    stream.on('trailers', (_headers: unknown, _flags: number, raw?: string[]) => {
      this.trailers = readTrailers(raw ?? [])
    })
    stream.on('drain', () => this.onDrain())
    stream.on('close', () => this.onClose())
    if (this.trailersExpected) stream.once('wantTrailers', () => this.onWantTrailers())
    watchEnd(stream, () => {
      this.endSeen = true
    })
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    const { stream } = this
    if (this.closed || stream === null || size === 0) return WRITE_DONE
    if (stream.destroyed || stream.writableEnded) return WRITE_DONE // its 'close' event is on its way
    if (!this.headSeen) this.readTimer.cancel()
    if (this.requestRemaining >= 0) {
      this.requestRemaining -= size
      if (this.requestRemaining < 0) {
        this.fail(new ProxyError('INTERNAL_ERROR', 'internal', 'Request body exceeds its Content-Length'))
        return WRITE_DONE
      }
    }
    this.requestBodyBytes += size
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

  endRequest(trailers: string[] | null): void {
    const { stream } = this
    if (this.requestEnded || this.closed || stream === null) return
    this.requestEnded = true
    if (this.requestRemaining > 0) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', `Request body is ${this.requestRemaining} bytes short`),
      )
      return
    }
    this.requestTrailers = trailers
    if (!stream.destroyed && !stream.writableEnded) stream.end()
    if (this.trailersWanted) this.sendTrailers()
    if (!this.paused && !this.responseEnded) this.armReadTimer()
  }

  /** All data is sent. It may come before `endRequest`, never twice. */
  private onWantTrailers(): void {
    this.trailersWanted = true
    if (this.requestEnded) this.sendTrailers()
  }

  private sendTrailers(): void {
    const { stream, requestTrailers } = this
    if (stream === null || stream.destroyed || stream.closed) return
    try {
      stream.sendTrailers(requestTrailers === null ? {} : fieldRecord(requestTrailers))
    } catch (cause) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', 'Trailers cannot be written as HTTP/2', { cause }),
      )
    }
  }

  /** Nothing is coalesced here: the library writes once per turn. */
  flush(): void {}

  private onDrain(): void {
    if (!this.drainWanted || this.closed) return
    this.drainWanted = false
    this.handler?.onUpstreamDrain()
  }

  // --- the response ----------------------------------------------------------------------------

  private onInformational(raw: string[]): void {
    if (this.closed || this.headSeen) return
    this.responseStarted = true
    const { informationalMax, fieldsMax } = this.connection.owner.limits
    const head = readResponseHead(raw, fieldsMax)
    if (head === null || head.header.status === 101 || head.header.status > 199) {
      this.fail(this.malformed())
      return
    }
    if (++this.informationalCount > informationalMax) {
      this.fail(
        peerError(
          'INVALID_HTTP_HEADER',
          'upstream',
          `Upstream sent more than ${informationalMax} informational responses`,
        ),
      )
      return
    }
    // While the request is under way, whose turn it is depends on the client.
    if (this.requestEnded) this.armReadTimer()
    else this.readTimer.cancel()
    this.handler?.onInformational(head.header)
  }

  private onHead(raw: string[], flags: number): void {
    const { stream } = this
    if (this.closed || this.headSeen || stream === null) return
    this.headSeen = true
    this.responseStarted = true
    const head = readResponseHead(raw, this.connection.owner.limits.fieldsMax)
    if (head === null || head.header.status < 200) {
      this.fail(this.malformed())
      return
    }
    const { header, contentLength } = head
    const ended = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
    this.bodyless = this.method === 'HEAD' || bodylessStatus(header.status)
    if (ended && !this.bodyless && contentLength > 0) {
      this.fail(peerError('H2_ERROR', 'upstream', 'Upstream announced a body and sent none'))
      return
    }
    this.responseLength = this.bodyless || ended ? 0 : contentLength
    this.armReadTimer()
    this.handler?.onResponseHead(header, this.responseLength)
    if (this.closed) return
    this.scheduleFlush()
    // Not before the head: the library hands data over at once, and heads a moment later.
    stream.on('data', (chunk: Buffer) => this.onData(chunk))
    stream.on('end', () => this.onEnd())
    if (this.paused) stream.pause()
  }

  private malformed(): ProxyError {
    return peerError('INVALID_HTTP_HEADER', 'upstream', 'Upstream sent a malformed response head')
  }

  private onData(chunk: Buffer): void {
    if (this.closed || this.responseEnded) return
    this.responseBodyBytes += chunk.length
    if (this.responseLength >= 0 && this.responseBodyBytes > this.responseLength) {
      this.fail(peerError('H2_ERROR', 'upstream', 'Upstream sent more than its Content-Length'))
      return
    }
    this.armReadTimer()
    const result = this.handler?.onResponseData(chunk, 0, chunk.length)
    if (this.closed) return
    if (result === WRITE_FULL) {
      this.paused = true
      this.readTimer.cancel()
      this.stream?.pause()
    }
    this.scheduleFlush()
  }

  private onEnd(): void {
    if (this.closed || this.responseEnded || !this.endSeen) return // `onClose` tells of a reset
    if (this.responseLength >= 0 && this.responseBodyBytes !== this.responseLength) {
      this.fail(peerError('PREMATURE_BODY_END', 'upstream', 'Upstream sent less than its Content-Length'))
      return
    }
    this.responseEnded = true
    this.connection.learnSuccess()
    this.readTimer.cancel()
    this.handler?.onResponseEnd(this.trailers)
  }

  /** What one turn brings leaves in one write: the head, small bodies and their end. */
  private scheduleFlush(): void {
    if (this.flushScheduled) return
    this.flushScheduled = true
    setImmediate(flushResponse, this)
  }

  flushNow(): void {
    this.flushScheduled = false
    if (!this.closed) this.handler?.onResponseFlush()
  }

  resumeResponse(): void {
    if (!this.paused || this.closed) return
    this.paused = false
    if (!this.responseEnded && this.headSeen) this.armReadTimer()
    this.stream?.resume()
  }

  /** The stream ends with its exchange; the pool keeps the connection. */
  get reusable(): boolean {
    return false
  }

  // --- timers ----------------------------------------------------------------------------------

  private armReadTimer(): void {
    this.readTimer.arm(this.peer.options.readTimeoutMs)
  }

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = this.taken
    this.writeTimer.arm(this.peer.options.writeTimeoutMs)
  }

  /** Body bytes that the library has taken from the stream's queue. */
  private get taken(): number {
    return this.requestBodyBytes - ((this.stream as Duplex | null)?.writableLength ?? 0)
  }

  onTimer(tag: number): void {
    if (this.closed) return
    const { readTimeoutMs, writeTimeoutMs } = this.peer.options
    if (tag === READ_TIMER) {
      // Whatever holds it up may hold up what comes after it, too.
      this.connection.retire()
      this.fail(peerError('READ_TIMEOUT', 'upstream', `Upstream sent nothing for ${readTimeoutMs} ms`))
      return
    }
    if (this.stream === null || this.stream.writableLength === 0) return
    if (this.taken !== this.takenAtArm) this.armWriteTimer()
    else this.fail(peerError('WRITE_TIMEOUT', 'upstream', `Upstream took nothing for ${writeTimeoutMs} ms`))
  }

  // --- the end ---------------------------------------------------------------------------------

  destroy(): void {
    this.handler = null
    this.end()
  }

  private fail(error: ProxyError): void {
    if (this.closed) return
    const { handler } = this
    this.handler = null
    this.end()
    handler?.onUpstreamError(error)
  }

  /** For failures within a call of the handler's. */
  private failSoon(error: ProxyError): void {
    queueMicrotask(() => this.fail(error))
  }

  private end(): void {
    if (this.closed) return
    this.closed = true
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    const { stream } = this
    if (stream === null) {
      this.freeSlot()
      return
    }
    // What is whole ends by itself; what is not ends here.
    if (!stream.destroyed && !stream.closed && !(this.responseEnded && this.requestEnded)) {
      stream.close(this.responseEnded ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL)
    }
    // Data that nobody wants any more would keep the stream open.
    stream.resume()
  }

  private freeSlot(): void {
    if (this.slotFree) return
    this.slotFree = true
    this.connection.streamClosed()
  }

  private onClose(): void {
    const { stream } = this
    if (!this.closed && !this.responseEnded && stream !== null) {
      const error = this.resetError(stream)
      this.freeSlot()
      this.fail(error)
    } else this.freeSlot()
  }

  /** What a stream that ended too early says, and whether the request may be sent again. */
  private resetError(stream: ClientHttp2Stream): ProxyError {
    const { connection, peer } = this
    const code = stream.rstCode ?? NGHTTP2_NO_ERROR
    if (!this.responseStarted && connection.refused(stream.id, code)) {
      // It was not served, so that sending it again cannot do anything twice (RFC 9113 §8.7).
      this.requestSent = false
      if (stream.id !== undefined) connection.learnLimit()
      return peerError('H2_ERROR', 'upstream', 'Upstream refused the stream', { retry: 'allowed' })
    }
    if (code === NGHTTP2_HTTP_1_1_REQUIRED) {
      connection.owner.onDowngrade(peer)
      connection.retire()
      const retry: RetryDecision =
        peer.options.httpVersion === 'auto' && !this.responseStarted ? 'allowed' : 'never'
      if (retry === 'allowed') this.requestSent = false
      return peerError('H2_DOWNGRADE', 'upstream', 'Upstream asks for HTTP/1.1', { retry })
    }
    const retry: RetryDecision = this.responseStarted ? 'never' : 'if-reused'
    const own = connection.ownFailure
    if (own !== null) return peerError(own.code, 'upstream', own.message, { cause: own, retry })
    const cause = connection.cause ?? this.streamError
    if (cause !== null && 'syscall' in cause) {
      return fromSystemError(cause, 'upstream', 'Connection to upstream failed', { retry })
    }
    if (code === NGHTTP2_PROTOCOL_ERROR || (cause as { code?: unknown } | null)?.code === 'ERR_HTTP2_ERROR') {
      return peerError('INVALID_H2', 'upstream', 'Upstream broke the rules of HTTP/2', { cause })
    }
    if (connection.gone) {
      return peerError('CONNECTION_CLOSED', 'upstream', 'Upstream closed the connection', { cause, retry })
    }
    return peerError('H2_ERROR', 'upstream', `Upstream reset the stream (code ${code})`)
  }
}

/**
 * Tells of END_STREAM. A reset ends a stream's readable side too, and looks the same at its `end` event: only
 * the order of things tells them apart, for a reset has closed the stream before.
 */
function watchEnd(stream: ClientHttp2Stream, onEndOfStream: () => void): void {
  const push = stream.push
  stream.push = function pushWatched(
    this: ClientHttp2Stream,
    chunk: unknown,
    encoding?: BufferEncoding,
  ): boolean {
    if (chunk === null && !this.closed && !this.destroyed) onEndOfStream()
    return push.call(this, chunk, encoding)
  }
}

function flushResponse(session: Http2ClientSession): void {
  session.flushNow()
}
