import { type OnReadOpts, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { fromSystemError, isProxyError, ProxyError, peerError, type RetryDecision } from '@cirque/error'
import {
  bodylessStatus,
  ChunkedDecoder,
  type ChunkSink,
  encodeChunkHead,
  HEAD_FAILED,
  type HeadMemo,
  type HttpProfile,
  latin1,
  NEED_MORE,
  type RequestHeader,
  ResponseHeader,
  ResponseHeadParser,
  TRAIT_EXPECT,
} from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { ClientSession } from '../client-session.ts'
import { connectionDigest } from '../connection-digest.ts'
import type { ConnectionDigest } from '../digest.ts'
import type { HttpPeer } from '../peer.ts'
import { WRITE_DONE, WRITE_FULL, WRITE_PAUSE, WRITE_RETAINED, type WriteResult } from '../server-session.ts'
import { requestHeadText } from './head-writer.ts'
import {
  LONG_READ_BYTES,
  READ_BYTES,
  returnReadBuffer,
  SHORT_READ_BYTES,
  sharedReadBuffer,
  takeReadBuffer,
} from './read-buffer.ts'
import { bytesTaken, RUNS_PER_TURN_MAX, TEXT_BODY_BYTES_MAX, trailersToWire } from './wire.ts'
import { guardWrites } from './write-guard.ts'

/** Limits on what an upstream may send as a response's head. */
export interface ResponseLimits {
  readonly headBytesMax: number
  readonly fieldsMax: number
  /** 1xx responses before a final one; one more fails the exchange. */
  readonly informationalMax: number
  readonly profile: HttpProfile
}

/** What owns upstream connections: the connector. */
export interface Http1ClientOwner {
  readonly limits: ResponseLimits
  /** A parser that no connection holds a partial head in. */
  spareParser: ResponseHeadParser | null
  /** The connection is closed, whatever it was doing. */
  onConnectionClosed(connection: Http1ClientConnection): void
  /** An idle connection received bytes that no request asked for. */
  onUnexpectedData(connection: Http1ClientConnection): void
}

/**
 * - `idle`: connected, no exchange; a byte that arrives now destroys it.
 * - `head`: a request is under way, its response's head is not complete.
 * - `body`: the response's body is under way.
 * - `complete`: the response is complete; the request may not be.
 * - `tunnel`: 101 arrived; bytes pass both ways.
 * - `closed`: nothing moves any more.
 */
export type ClientConnectionState = 'idle' | 'head' | 'body' | 'complete' | 'tunnel' | 'closed'

const BODY_NONE = 0
const BODY_LENGTH = 1
const BODY_CHUNKED = 2
const BODY_UNTIL_CLOSE = 3

const READ_TIMER = 0
const WRITE_TIMER = 1

const NO_REQUEST = ''

const ALPN: readonly string[] = ['http/1.1']

/** One HTTP/1 connection to a peer; carries one exchange at a time and is its session meanwhile. */
export class Http1ClientConnection extends ClientSession implements ChunkSink, TimerOwner {
  /** The peer of the exchange under way; its timeouts apply. */
  peer: HttpPeer
  state: ClientConnectionState = 'idle'
  /** Exchanges carried so far, the present one included. */
  requestCount = 0
  establishedAt = 0
  /** The pool's own mark on this connection. */
  poolEntry: unknown = null
  /** What the peer's `Keep-Alive: timeout=` promised, in milliseconds, or -1. */
  keepAliveTimeoutMs = -1

  private readonly owner: Http1ClientOwner
  /** The transport itself is what is wanted: no HTTP is spoken on it. */
  private readonly raw: boolean
  private socket: Duplex | null = null
  private parser: ResponseHeadParser | null = null
  /** What the field lines of the last head meant: the next head tends to have the same. */
  private memo: HeadMemo | null = null
  private decoder: ChunkedDecoder | null = null
  private bodyKind = BODY_NONE
  private bodyRemaining = 0
  /** Runs of body bytes that the present read brought. */
  private runCount = 0
  private informationalCount = 0
  private method = NO_REQUEST
  private upgradeWanted = false
  private keepAlive = false
  private surplus = false
  private requestChunked = false
  /** Bytes of the announced request body still to come; -1 when it is chunked. */
  private requestRemaining = 0
  /** Why the connection failed while nobody could be told. */
  private untold: ProxyError | null = null
  private text = ''
  private drainWanted = false
  private paused = false
  private ended = false
  /** True once a write has failed: what is still read was sent before. */
  private writeBroken = false
  /** True while the exchange's first write is the last one made. */
  private firstWrite = false
  private error: Error | null = null
  /** Memory of its own for the next read; null while it reads into the shared one. */
  private readBuffer: Buffer | null = null
  /** False when reads come as `data` events, in memory that belongs to nobody else. */
  private onRead = true
  private readonly readTimer: CoarseTimer
  private writeTimer: CoarseTimer | null = null
  private takenAtArm = 0

  constructor(owner: Http1ClientOwner, peer: HttpPeer, raw: boolean = false) {
    super()
    this.owner = owner
    this.raw = raw
    this.peer = peer
    this.readTimer = new CoarseTimer(this, READ_TIMER)
  }

  // --- the transport ---------------------------------------------------------------------------

  get alpnProtocols(): readonly string[] {
    return ALPN
  }

  /** True for a tunnel: whoever is behind it may speak first. */
  get hearsEarlyBytes(): boolean {
    return this.raw
  }

  /** For `net.connect` and `tls.connect`: reads go into memory of ours, without an allocation each. */
  onReadOptions(): OnReadOpts {
    if (sharedReadBuffer === null) this.readBuffer = takeReadBuffer()
    return {
      buffer: () => this.readBuffer ?? (sharedReadBuffer as Buffer),
      callback: (count: number, buffer: Uint8Array) => this.process(buffer as Buffer, 0, count),
    }
  }

  /** Takes over a connected transport. With `onRead` false its bytes come as `data` events. */
  attach(socket: Duplex, onRead: boolean): void {
    this.socket = socket
    this.establishedAt = Date.now()
    if (!onRead) {
      this.onRead = false
      if (this.readBuffer !== null) returnReadBuffer(this.readBuffer)
      this.readBuffer = null
      socket.on('data', (chunk: Buffer) => {
        if (this.process(chunk, 0, chunk.length)) return
        socket.pause()
      })
    }
    if (socket instanceof Socket) guardWrites(socket, (error, refused) => this.onWriteError(error, refused))
    socket.on('end', () => this.onEnd())
    socket.on('drain', () => this.onDrain())
    socket.on('error', (error: Error) => {
      this.error ??= error
    })
    socket.on('close', () => this.onClose())
    // Who is behind a tunnel may speak first; nobody listens yet.
    if (this.raw) socket.pause()
    else socket.resume()
  }

  digest(): ConnectionDigest {
    return connectionDigest(this.socket as Socket, this.establishedAt, this.requestCount)
  }

  // --- the exchange ----------------------------------------------------------------------------

  /** True once nothing moves any more. */
  get closed(): boolean {
    return this.state === 'closed'
  }

  /** True when a request may start: connected, idle, nothing unread, not half-closed. */
  get usable(): boolean {
    const socket = this.socket
    return this.state === 'idle' && !this.ended && socket !== null && !socket.destroyed && socket.writable
  }

  /** Makes ready for a request of `peer`. */
  begin(peer: HttpPeer): void {
    this.peer = peer
    this.reused = this.requestCount > 0
    this.requestCount++
    this.state = 'head'
    this.handler = null
    this.requestSent = false
    this.responseStarted = false
    this.requestEnded = false
    this.responseEnded = false
    this.responseBodyBytes = 0
    this.informationalCount = 0
    this.upgradeWanted = false
    this.keepAlive = true
    this.surplus = false
    this.paused = false
    this.drainWanted = false
  }

  sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void {
    if (this.state === 'closed') {
      this.tellLater()
      return
    }
    if (this.raw) {
      queueMicrotask(() => this.openTunnel())
      return
    }
    this.method = header.method
    this.upgradeWanted = upgrade
    this.requestChunked = contentLength < 0
    this.requestRemaining = contentLength
    this.text = requestHeadText(header, contentLength, upgrade)
    // The peer owes an answer (100 or a final one) before any body: wait for it with a limit.
    if (contentLength !== 0 && expects(header)) this.readTimer.arm(this.peer.options.readTimeoutMs)
  }

  /** Answers for the peer, which was asked nothing. */
  private openTunnel(): void {
    if (this.closed) return
    this.startTunnel(ResponseHeader.build(101))
    if (!this.closed && !this.paused) this.socket?.resume()
  }

  private startTunnel(header: ResponseHeader): void {
    this.state = 'tunnel'
    this.keepAlive = false
    this.requestEnded = false
    this.useOwnBuffer()
    this.readTimer.cancel()
    this.handler?.onResponseHead(header, -1)
  }

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    if (this.state === 'closed' || size === 0) return WRITE_DONE
    if (this.writeBroken) return this.dropWrite()
    if (this.state === 'head') this.readTimer.cancel()
    const chunked = this.requestChunked && this.state !== 'tunnel'
    if (!chunked && this.state !== 'tunnel') {
      this.requestRemaining -= size
      if (this.requestRemaining < 0) {
        this.fail(new ProxyError('INTERNAL_ERROR', 'internal', 'Request body exceeds its Content-Length'))
        return WRITE_DONE
      }
    }
    if (size <= TEXT_BODY_BYTES_MAX) {
      const body = latin1(buffer, start, end)
      this.text += chunked ? `${encodeChunkHead(size)}${body}\r\n` : body
      if (this.text.length > TEXT_BODY_BYTES_MAX) return this.flushText()
      // The last flush filled the queue, which nobody could be told then.
      return this.drainWanted ? WRITE_PAUSE : WRITE_DONE
    }
    const socket = this.socket as Duplex
    const head = chunked ? this.text + encodeChunkHead(size) : this.text
    this.text = ''
    this.firstWrite = !this.requestSent
    this.requestSent = true
    const corked = head !== '' || chunked
    try {
      if (corked) socket.cork()
      if (head !== '') socket.write(head, 'latin1')
      socket.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
      if (chunked) socket.write('\r\n', 'latin1')
      if (corked) socket.uncork()
    } catch (error) {
      return this.writeFailed(error)
    }
    return this.afterWrite()
  }

  endRequest(trailers: string[] | null): void {
    if (this.requestEnded || this.state === 'closed') return
    this.requestEnded = true
    if (this.state === 'tunnel') {
      this.flushText()
      this.socket?.end()
      return
    }
    // What came after a failed write was dropped: how the peer ends tells what became of the request.
    if (this.requestRemaining > 0 && !this.writeBroken) {
      this.fail(
        new ProxyError('INTERNAL_ERROR', 'internal', `Request body is ${this.requestRemaining} bytes short`),
      )
      return
    }
    if (this.requestChunked) this.text += `0\r\n${trailers === null ? '' : trailersToWire(trailers)}\r\n`
    this.flushText()
    if (!this.paused && !this.responseEnded) this.readTimer.arm(this.peer.options.readTimeoutMs)
  }

  flush(): void {
    if (this.text !== '' && this.state !== 'closed') this.flushText()
  }

  private flushText(): WriteResult {
    const text = this.text
    if (text === '') return WRITE_DONE
    this.text = ''
    this.firstWrite = !this.requestSent
    this.requestSent = true
    try {
      ;(this.socket as Duplex).write(text, 'latin1')
    } catch (error) {
      return this.writeFailed(error)
    }
    return this.afterWrite()
  }

  /** A stream that a `connect` function gave may throw where it should call back. */
  private writeFailed(error: unknown): WriteResult {
    const failure = error instanceof Error ? error : new Error('The stream failed to write', { cause: error })
    this.socket?.destroy(failure)
    return WRITE_DONE
  }

  /** The peer takes no more. What it sent before that can still be read: its answer, if it was an early one. */
  private onWriteError(error: Error, refused: boolean): void {
    this.error ??= error
    this.writeBroken = true
    // The peer had closed the idle connection, and nothing of this request went over it.
    if (refused && this.firstWrite && this.reused) this.requestSent = false
    this.keepAlive = false
    this.writeTimer?.cancel()
    if (this.state === 'idle' || this.state === 'complete') this.socket?.destroy(error)
    else if (this.state !== 'closed' && this.state !== 'tunnel' && !this.paused)
      this.readTimer.arm(this.peer.options.readTimeoutMs)
  }

  /** Nobody takes these bytes. In a tunnel that is told, once all is delivered that came the other way. */
  private dropWrite(): WriteResult {
    if (this.state === 'tunnel' && this.responseEnded) this.fail(this.closedWithin())
    return WRITE_DONE
  }

  private afterWrite(): WriteResult {
    const socket = this.socket as Duplex
    if (socket.writableLength === 0) return WRITE_DONE
    this.armWriteTimer()
    if (!socket.writableNeedDrain) return WRITE_RETAINED
    this.drainWanted = true
    return WRITE_FULL
  }

  resumeResponse(): void {
    if (!this.paused || this.state === 'closed') return
    this.paused = false
    if (this.state === 'body') this.readTimer.arm(this.peer.options.readTimeoutMs)
    this.socket?.resume()
  }

  get reusable(): boolean {
    return (
      this.state === 'complete' &&
      this.requestEnded &&
      this.keepAlive &&
      !this.surplus &&
      !this.ended &&
      this.text === '' &&
      (this.socket as Duplex).writableLength === 0
    )
  }

  /** The exchange is over and the connection goes back to the pool. */
  park(): void {
    this.state = 'idle'
    this.handler = null
    this.method = NO_REQUEST
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    if (!this.paused) return
    // The last chunk filled the client's queue: nothing would be heard of the peer's closing.
    this.paused = false
    this.socket?.resume()
  }

  destroy(): void {
    this.handler = null
    this.close()
  }

  // --- reading ---------------------------------------------------------------------------------

  /** Uses what was read; false to stop reading. */
  private process(buffer: Buffer, start: number, end: number): boolean {
    switch (this.state) {
      case 'head':
        return this.processHead(buffer, start, end)
      case 'body':
        this.readTimer.arm(this.peer.options.readTimeoutMs)
        this.runCount = 0
        this.processBody(buffer, start, end)
        if (this.state === 'body') {
          if (this.runCount > RUNS_PER_TURN_MAX) {
            this.shrinkBuffer()
            return this.yieldTurn()
          }
          // Not for one who takes less than that: what it cannot take waits in memory.
          if (end === buffer.length && !this.paused) this.growBuffer()
        }
        break
      case 'tunnel':
        this.deliver(buffer, start, end)
        break
      case 'idle':
        this.owner.onUnexpectedData(this)
        this.close()
        return false
      case 'complete':
        this.surplus = true
        return true
      case 'closed':
        return false
    }
    return this.turnOver()
  }

  /** The end of a read: lets the handler write what it coalesced, and says whether to read on. */
  private turnOver(): boolean {
    this.handler?.onResponseFlush()
    return !this.paused
  }

  /** Chunks so small cost a thousand times what their bytes do: read on when others had their turn. */
  private yieldTurn(): boolean {
    if (!this.turnOver()) return false
    setImmediate(() => {
      if (this.state !== 'closed' && !this.paused) this.socket?.resume()
    })
    return false
  }

  private processHead(buffer: Buffer, start: number, end: number): boolean {
    if (!this.requestSent) {
      // Nobody asked yet: whatever this answers, it is not the request that is about to be sent.
      this.owner.onUnexpectedData(this)
      this.fail(
        peerError('SURPLUS_DATA', 'upstream', 'Upstream sent bytes before it was asked for any', {
          retry: 'allowed',
        }),
      )
      return false
    }
    this.responseStarted = true
    let at = start
    while (this.state === 'head' && at < end) {
      const parser = this.parser ?? this.takeParser()
      parser.memo = this.memo
      const after = parser.execute(buffer, at, end)
      if (after === NEED_MORE) {
        this.parser = parser
        this.readTimer.arm(this.peer.options.readTimeoutMs)
        return this.turnOver()
      }
      this.parser = null
      if (after === HEAD_FAILED) {
        const failure = parser.failure
        parser.reset()
        this.owner.spareParser ??= parser
        this.fail(
          peerError(
            'INVALID_HTTP_HEADER',
            'upstream',
            `Upstream sent a malformed response head (${failure?.code ?? 'unknown'})`,
          ),
        )
        return false
      }
      this.memo = parser.memo
      at = after
      if (!this.acceptHead(parser, at < end)) return !this.paused && !this.closed
    }
    if (at < end && (this.state === 'body' || this.state === 'tunnel')) {
      if (this.state === 'tunnel') this.deliver(buffer, at, end)
      else this.processBody(buffer, at, end)
    }
    if (this.state === 'body' && !this.paused) this.readTimer.arm(this.peer.options.readTimeoutMs)
    return this.turnOver()
  }

  private takeParser(): ResponseHeadParser {
    const owner = this.owner
    const parser = owner.spareParser ?? new ResponseHeadParser(owner.limits)
    owner.spareParser = null
    return parser
  }

  /** Acts on a complete head. Returns false when nothing more of this read may be used. */
  private acceptHead(parser: ResponseHeadParser, more: boolean): boolean {
    const { contentLength, chunked, keepAlive } = parser
    if (parser.keepAliveTimeoutMs >= 0) this.keepAliveTimeoutMs = parser.keepAliveTimeoutMs
    const header = parser.takeHeader()
    this.owner.spareParser ??= parser
    const status = header.status
    if (status < 200 && status !== 101) {
      if (++this.informationalCount > this.owner.limits.informationalMax) {
        this.fail(
          peerError(
            'INVALID_HTTP_HEADER',
            'upstream',
            `Upstream sent more than ${this.owner.limits.informationalMax} informational responses`,
          ),
        )
        return false
      }
      // While the request is under way, whose turn it is depends on the client.
      if (this.requestEnded) this.readTimer.arm(this.peer.options.readTimeoutMs)
      else this.readTimer.cancel()
      this.handler?.onInformational(header)
      return this.state === 'head'
    }
    if (status === 101) {
      if (!this.upgradeWanted) {
        this.fail(
          peerError('INVALID_HTTP_HEADER', 'upstream', 'Upstream switched protocols without being asked to'),
        )
        return false
      }
      this.startTunnel(header)
      return true
    }
    // An upgrade that was not granted leaves doubt about what the peer takes the next bytes for.
    this.keepAlive = keepAlive && !this.upgradeWanted
    if (this.method === 'HEAD' || bodylessStatus(status)) {
      this.bodyKind = BODY_NONE
      this.state = 'body'
      this.handler?.onResponseHead(header, 0)
      if (this.state === 'body') this.finish(null, more)
      return false
    }
    if (chunked) this.bodyKind = BODY_CHUNKED
    else if (contentLength >= 0) this.bodyKind = BODY_LENGTH
    else {
      this.bodyKind = BODY_UNTIL_CLOSE
      this.keepAlive = false
    }
    this.bodyRemaining = contentLength
    this.state = 'body'
    this.handler?.onResponseHead(header, chunked ? -1 : contentLength)
    if (this.bodyKind === BODY_LENGTH && contentLength === 0) {
      if (this.state === 'body') this.finish(null, more)
      return false
    }
    return true
  }

  private processBody(buffer: Buffer, start: number, end: number): void {
    if (this.bodyKind === BODY_LENGTH) {
      const size = end - start
      const take = Math.min(size, this.bodyRemaining)
      this.bodyRemaining -= take
      this.deliver(buffer, start, start + take)
      if (this.bodyRemaining === 0) {
        if (this.state === 'body') this.finish(null, take < size)
      } else this.useOwnBuffer()
      return
    }
    this.useOwnBuffer()
    if (this.bodyKind === BODY_UNTIL_CLOSE) {
      this.deliver(buffer, start, end)
      return
    }
    this.decoder ??= new ChunkedDecoder()
    const decoder = this.decoder
    const after = decoder.execute(buffer, start, end, this)
    if (this.state !== 'body') return
    if (after === HEAD_FAILED) {
      this.fail(
        peerError(
          'INVALID_CHUNK',
          'upstream',
          `Upstream sent invalid chunked coding (${decoder.failure?.code ?? 'unknown'})`,
        ),
      )
    } else if (after >= 0) {
      const trailers = decoder.trailers
      decoder.reset()
      this.finish(trailers, after < end)
    }
  }

  onChunkData(buffer: Buffer, start: number, end: number): void {
    this.runCount++
    if (this.state === 'body') this.deliver(buffer, start, end)
  }

  private deliver(buffer: Buffer, start: number, end: number): void {
    const size = end - start
    const handler = this.handler
    if (size === 0 || handler === null) return
    this.responseBodyBytes += size
    let result: WriteResult
    if (buffer === sharedReadBuffer && size > TEXT_BODY_BYTES_MAX) {
      // Every connection reads into this memory: what may stay queued has to move out of it. Mostly it does
      // not stay, and the memory it moved to serves again at once.
      const own = takeReadBuffer()
      buffer.copy(own, 0, start, end)
      result = handler.onResponseData(own, 0, size)
      if ((result & WRITE_RETAINED) === 0) returnReadBuffer(own)
    } else {
      result = handler.onResponseData(buffer, start, end)
      if ((result & WRITE_RETAINED) !== 0) {
        // The handler may still refer to this memory: nothing is read into it any more.
        if (buffer === this.readBuffer) this.readBuffer = takeReadBuffer(buffer.length)
        else if (buffer === sharedReadBuffer && result === WRITE_RETAINED) {
          // Better no response than one with another's bytes in it.
          this.fail(
            new ProxyError(
              'INTERNAL_ERROR',
              'internal',
              'A run of body bytes was kept that had to be copied',
            ),
          )
          return
        }
      }
    }
    if (result >= WRITE_PAUSE && this.state !== 'closed') {
      this.paused = true
      this.readTimer.cancel()
    }
  }

  /** A long body passes: from the next read on use memory that no other connection reads into. */
  private useOwnBuffer(): void {
    if (this.onRead && this.readBuffer === null) this.readBuffer = takeReadBuffer()
  }

  /** The body fills its memory in one read: more at a time costs less. */
  private growBuffer(): void {
    const buffer = this.readBuffer
    if (buffer === null || buffer.length !== READ_BYTES) return
    returnReadBuffer(buffer)
    this.readBuffer = takeReadBuffer(LONG_READ_BYTES)
  }

  /** The body comes in thousands of chunks: less at a time keeps others waiting less. */
  private shrinkBuffer(): void {
    const buffer = this.readBuffer
    if (buffer === null || buffer.length === SHORT_READ_BYTES) return
    returnReadBuffer(buffer)
    this.readBuffer = Buffer.allocUnsafeSlow(SHORT_READ_BYTES)
  }

  private useSharedBuffer(): void {
    const buffer = this.readBuffer
    if (buffer === null || sharedReadBuffer === null) return
    this.readBuffer = null
    returnReadBuffer(buffer)
  }

  /** The response is complete. The handler may release or reuse this connection within the call. */
  private finish(trailers: string[] | null, surplus: boolean): void {
    this.state = 'complete'
    this.responseEnded = true
    this.surplus = surplus
    this.readTimer.cancel()
    this.useSharedBuffer()
    const handler = this.handler
    handler?.onResponseEnd(trailers)
  }

  // --- the end ---------------------------------------------------------------------------------

  private onEnd(): void {
    this.ended = true
    if (this.state === 'body' && this.bodyKind === BODY_UNTIL_CLOSE) {
      this.finish(null, false)
      return
    }
    if (this.state === 'tunnel') {
      this.responseEnded = true
      this.handler?.onResponseEnd(null)
      return
    }
    if (this.state === 'head') this.fail(this.closedEarly())
    else if (this.state === 'body') {
      this.fail(
        peerError('PREMATURE_BODY_END', 'upstream', 'Upstream closed before its response was complete'),
      )
    } else this.close()
  }

  private closedEarly(): ProxyError {
    // No byte of a response: the classic race of a reused connection that the peer closed meanwhile.
    const retry: RetryDecision = this.responseStarted ? 'never' : this.requestSent ? 'if-reused' : 'allowed'
    const cause = this.error
    if (isProxyError(cause)) return cause
    if (cause !== null && !('code' in cause && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE'))) {
      return fromSystemError(cause, 'upstream', 'Connection to upstream failed')
    }
    return peerError('CONNECTION_CLOSED', 'upstream', 'Upstream closed the connection before it answered', {
      retry,
      ...(cause === null ? {} : { cause }),
    })
  }

  private onClose(): void {
    if (this.state === 'closed') return
    if (this.state === 'head') this.fail(this.closedEarly())
    else if (this.state === 'tunnel' && this.requestEnded && this.responseEnded) this.close()
    else if (this.state === 'body' || this.state === 'tunnel') this.fail(this.closedWithin())
    else this.close()
  }

  private closedWithin(): ProxyError {
    const cause = this.error
    const options = cause === null ? {} : { cause }
    return peerError(
      'CONNECTION_CLOSED',
      'upstream',
      'Upstream closed the connection within its response',
      options,
    )
  }

  private fail(error: ProxyError): void {
    const handler = this.handler
    this.handler = null
    this.close()
    if (handler === null) this.untold = error
    else handler.onUpstreamError(error)
  }

  /** The connection was lost between its acquisition and the request: the handler hears of it now. */
  private tellLater(): void {
    const error = this.untold
    this.untold = null
    if (error === null) return
    queueMicrotask(() => {
      const handler = this.handler
      this.handler = null
      handler?.onUpstreamError(error)
    })
  }

  private close(): void {
    if (this.state === 'closed') return
    const cut = this.state === 'tunnel' && !this.requestEnded
    this.state = 'closed'
    this.text = ''
    this.parser = null
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    const { socket } = this
    // In a tunnel an orderly end is the client's own: only a reset says that it was cut.
    if (cut && isTcp(socket) && !socket.destroyed) socket.resetAndDestroy()
    else socket?.destroy()
    this.owner.onConnectionClosed(this)
  }

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = bytesTaken(this.socket as Duplex)
    this.writeTimer.arm(this.peer.options.writeTimeoutMs)
  }

  private onDrain(): void {
    this.writeTimer?.cancel()
    if (!this.drainWanted) return
    this.drainWanted = false
    this.handler?.onUpstreamDrain()
  }

  onTimer(tag: number): void {
    if (this.state === 'closed' || this.state === 'idle') return
    const { readTimeoutMs, writeTimeoutMs } = this.peer.options
    if (tag === READ_TIMER) {
      this.fail(peerError('READ_TIMEOUT', 'upstream', `Upstream sent nothing for ${readTimeoutMs} ms`))
      return
    }
    const socket = this.socket as Duplex
    if (socket.writableLength === 0) return
    if (bytesTaken(socket) !== this.takenAtArm) this.armWriteTimer()
    else this.fail(peerError('WRITE_TIMEOUT', 'upstream', `Upstream took nothing for ${writeTimeoutMs} ms`))
  }
}

/** True for what can be reset: a Unix socket cannot, and TLS says by itself that it was cut. */
function isTcp(socket: Duplex | null): socket is Socket {
  return socket instanceof Socket && !(socket instanceof TLSSocket) && socket.remoteFamily !== undefined
}

/** Whether a request asks for a 100 before its body. */
function expects(header: RequestHeader): boolean {
  return header.lines === null ? header.has('expect') : (header.lines.traits & TRAIT_EXPECT) !== 0
}
