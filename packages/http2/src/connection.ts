import { HpackDecoder, HpackEncoder } from '@cirque/hpack'
import { ClosedStreams, ENDED, FORGOTTEN, RESET_BY_PEER, RESET_BY_US } from './closed-streams.ts'
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  errorName,
  FLAG_ACK,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_GOAWAY,
  FRAME_HEAD_BYTES,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  INTEGER_31_MAX,
  PREFACE,
  SETTING_ENABLE_CONNECT_PROTOCOL,
  SETTING_ENABLE_PUSH,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  SETTING_MAX_HEADER_LIST_SIZE,
} from './constants.ts'
import { FrameReader, type FrameSink } from './frame-reader.ts'
import { gather } from './gather.ts'
import {
  checkTrailers,
  type FieldsProblem,
  type Http2Request,
  readRequest,
  readResponse,
} from './message-fields.ts'
import { type Http2Options, type ResolvedHttp2Options, resolveHttp2Options } from './options.ts'
import { Http2Sender } from './sender.ts'
import { Http2Stream, type Http2StreamHandler, type ResetOrigin, type WriteResult } from './stream.ts'
import { TokenBucket } from './token-bucket.ts'

/** Why a request is not handed over: malformed, or over a limit of its head. */
export type RequestProblem = FieldsProblem | 'HTTP2_HEAD_BYTES'

/** Who owns a connection. Calls never overlap. */
export interface Http2ConnectionHandler {
  /**
   * Writes what goes out, in order and as one write where it can.
   *
   * @returns `WRITE_DONE` when the memory is free again, `WRITE_RETAINED` when it is still in use, and `WRITE_FULL`
   * when the transport wants no more before `resumeOutput()`.
   */
  writeOutput(chunks: readonly Buffer[]): WriteResult
  /** Something waits to be written: call `flush()` before long, best once a turn. Called once until then. */
  onOutputWaiting(): void
  /** Server: a request has come. Set `stream.handler`; its data waits until `stream.resume()`. */
  onRequest(stream: Http2Stream, request: Http2Request, endOfStream: boolean): void
  /**
   * Server: a request that is not to be served. It may be answered with a head that ends the stream; whatever is
   * still open when this returns is reset.
   */
  onRequestRefused(stream: Http2Stream, problem: RequestProblem): void
  /** The peer's settings have come, for the first time or again. */
  onSettings(): void
  /** The peer takes no stream above `lastStreamId` (RFC 9113 §6.8). */
  onGoaway(lastStreamId: number, code: number): void
  /** A `ping()` was answered. */
  onPong(): void
  /** A drain has named its last stream: the connection ends with the open ones. */
  onDrained(): void
  /** A stream that was handed over, or opened, is closed. */
  onStreamClosed(stream: Http2Stream, origin: ResetOrigin | null): void
  /**
   * The peer broke the protocol or a limit. Its streams are reset already; GOAWAY with `code` waits to be flushed,
   * after which the transport is to be closed.
   *
   * @param reason - For people; a limit's has the form `HTTP2_RESET_FLOOD`.
   */
  onConnectionError(code: number, reason: string): void
}

/**
 * - `open`: takes and opens streams.
 * - `draining`: the peer was warned; streams that it begins are still served.
 * - `closing`: GOAWAY has named the last stream; open ones go on.
 * - `closed`: nothing has a meaning any more.
 */
export type Http2State = 'open' | 'draining' | 'closing' | 'closed'

/** Control frames at once, as a multiple of what is allowed per second. */
const CONTROL_BURST_SECONDS = 10
/** WINDOW_UPDATEs that may come before any data of ours has explained them. */
const UPDATES_FREE = 1_000
const UPDATES_EARNED_MAX = 10_000
/** Runs of data in one read that are handed over as they come; shorter ones after them are gathered first. */
const SINGLE_RUNS_MAX = 32
const GATHERED_RUN_BYTES_MAX = 1_024
/** What our own pings carry. */
const PING_MARK = 0x63_69_72_71
const DRAIN_PING = 1
const LIVE_PING = 2

/**
 * One HTTP/2 connection (RFC 9113), either end of it, without any input or output of its own: `receive` takes bytes
 * in, `handler.writeOutput` takes bytes out.
 */
export class Http2Connection implements FrameSink {
  readonly handler: Http2ConnectionHandler
  readonly options: ResolvedHttp2Options
  readonly isServer: boolean
  /** @internal */
  readonly sender: Http2Sender
  state: Http2State = 'open'
  /** Streams that the peer takes at once; without limit until its settings have come. */
  peerStreamsMax: number = Number.POSITIVE_INFINITY
  /** The peer takes extended CONNECT (RFC 8441). */
  peerConnectProtocol = false
  /** The peer's first settings have come. */
  settingsReceived = false
  /** Why the connection was ended for what the peer did; null while it was not. Known before its streams hear of it. */
  failure: string | null = null
  /** The last stream that the peer will serve. */
  peerLastStreamId: number = INTEGER_31_MAX

  private readonly reader: FrameReader
  private readonly decoder: HpackDecoder
  private readonly encoder: HpackEncoder
  private readonly streams: Map<number, Http2Stream> = new Map()
  private readonly closedStreams: ClosedStreams
  private readonly resets: TokenBucket
  private readonly controls: TokenBucket
  /** The last stream that the peer has begun. */
  private lastPeerId = 0
  /** What our GOAWAY says of it. */
  private lastServedId: number = INTEGER_31_MAX
  private nextId = 1
  private peerWindowBytes: number = DEFAULT_WINDOW_BYTES
  private receiveWindow: number = DEFAULT_WINDOW_BYTES
  /** Given back by readers, but not announced to the peer yet. */
  private unannounced = 0
  /** The peer has acknowledged our settings: only then its windows are what we said. */
  private settingsAcknowledged = false
  /** Streams that are over, but whose last frames the transport has not taken yet. */
  private endedUnsent = 0
  private outputWanted = false
  // The DATA frame under way; null when nobody wants it.
  private dataStream: Http2Stream | null = null
  private dataBytes = 0
  private dataRead = 0
  /** Runs of data that this read has brought so far. */
  private runCount = 0
  /** Streams whose data waits for the end of the read. */
  private readonly gathering: Http2Stream[] = []

  /**
   * Begins with the preface and settings, which wait in the output.
   *
   * @throws {TypeError | RangeError} If an option is unknown or out of bounds.
   */
  constructor(role: 'server' | 'client', handler: Http2ConnectionHandler, options?: Http2Options) {
    this.isServer = role === 'server'
    this.handler = handler
    const resolved = resolveHttp2Options(options)
    this.options = resolved
    const { headerListBytesMax, tableBytesMax, fieldsMax, streamsMax, controlFramesPerSecondMax } = resolved
    this.decoder = new HpackDecoder({ tableBytesMax, listBytesMax: headerListBytesMax, fieldsMax })
    this.encoder = new HpackEncoder({ tableBytesMax })
    this.sender = new Http2Sender(this, this.encoder, resolved.streamQueueBytesMax)
    this.reader = new FrameReader(
      this,
      this.isServer,
      resolved.frameBytesMax,
      resolved.continuationsMax,
      headerListBytesMax + resolved.frameBytesMax,
      resolved.framesAtOnceMax,
    )
    this.closedStreams = new ClosedStreams(streamsMax)
    this.resets = new TokenBucket(resolved.resetBurstMax, resolved.resetsPerSecondMax)
    this.controls = new TokenBucket(
      controlFramesPerSecondMax * CONTROL_BURST_SECONDS,
      controlFramesPerSecondMax,
    )
    this.sender.updatesEarned = UPDATES_FREE
    this.begin()
  }

  private begin(): void {
    const { output } = this.sender
    const { options } = this
    if (!this.isServer) output.copy(PREFACE, 0, PREFACE.length)
    const settings = [
      SETTING_INITIAL_WINDOW_SIZE,
      options.windowBytes,
      SETTING_MAX_FRAME_SIZE,
      options.frameBytesMax,
      SETTING_MAX_HEADER_LIST_SIZE,
      options.headerListBytesMax,
      SETTING_HEADER_TABLE_SIZE,
      options.tableBytesMax,
    ]
    if (this.isServer) {
      settings.push(SETTING_MAX_CONCURRENT_STREAMS, options.streamsMax)
      if (options.connectProtocol) settings.push(SETTING_ENABLE_CONNECT_PROTOCOL, 1)
    } else settings.push(SETTING_ENABLE_PUSH, 0)
    const size = settings.length * 3
    const at = output.reserve(FRAME_HEAD_BYTES + size)
    output.writeHead(at, size, FRAME_SETTINGS, 0, 0)
    for (let i = 0; i < settings.length; i += 2) {
      output.memory.writeUInt16BE(settings[i] as number, at + FRAME_HEAD_BYTES + i * 3)
      output.memory.writeUInt32BE(settings[i + 1] as number, at + FRAME_HEAD_BYTES + i * 3 + 2)
    }
    output.commit(FRAME_HEAD_BYTES + size)
    const more = options.connectionWindowBytes - DEFAULT_WINDOW_BYTES
    if (more > 0) output.small(FRAME_WINDOW_UPDATE, 0, 0, 4, more, 0)
    this.receiveWindow = options.connectionWindowBytes
    this.wantsOutput()
  }

  /** Streams that are open now. */
  get openStreams(): number {
    return this.streams.size
  }

  /** True when a stream may be opened. */
  get available(): boolean {
    return (
      this.state === 'open' &&
      this.peerLastStreamId === INTEGER_31_MAX &&
      this.streams.size < this.peerStreamsMax &&
      this.nextId <= INTEGER_31_MAX
    )
  }

  // --- the owner's calls -----------------------------------------------------------------------

  /**
   * Takes bytes `[start, end)` that came from the peer. Their memory is free again when it returns.
   *
   * @returns False after `framesAtOnceMax` frames: the rest waits, in a copy, for `resumeInput()`, which is to be
   * called in another turn of the event loop. Until then nothing should be read.
   */
  receive(buffer: Buffer, start: number, end: number): boolean {
    this.runCount = 0
    const all = this.reader.receive(buffer, start, end)
    if (this.gathering.length > 0) this.deliverGathered()
    return all
  }

  /** Goes on with what `receive` has left. False when there is still more. */
  resumeInput(): boolean {
    this.runCount = 0
    const all = this.reader.resume()
    if (this.gathering.length > 0) this.deliverGathered()
    return all
  }

  /** True while frames wait for `resumeInput()`. */
  get inputWaiting(): boolean {
    return this.reader.waiting
  }

  /** Writes what waits. */
  flush(): void {
    this.sender.flush()
  }

  /** The transport takes more again. */
  resumeOutput(): void {
    this.sender.resume()
  }

  /** Bytes that wait for the transport, besides the data in the streams' own queues. */
  get outputBytes(): number {
    return this.sender.output.bytes
  }

  /**
   * Client: opens a stream.
   *
   * @param fields - Flat, pseudo-fields first, names in lower case; checked by the caller.
   * @returns null when the connection takes no stream; see `available`.
   */
  open(fields: readonly string[], endOfStream: boolean, handler: Http2StreamHandler): Http2Stream | null {
    if (!this.available) return null
    const id = this.nextId
    this.nextId += 2
    const stream = new Http2Stream(this, id, this.peerWindowBytes, this.receiveWindowOfStream())
    stream.handler = handler
    stream.bodyless = fields[1] === 'HEAD'
    this.streams.set(id, stream)
    stream.sendHead(fields, endOfStream)
    return stream
  }

  /** Asks the peer for a sign of life; `onPong` tells of it. */
  ping(): void {
    if (this.state === 'closed') return
    this.sender.output.small(FRAME_PING, 0, 0, 8, PING_MARK, LIVE_PING)
    this.wantsOutput()
  }

  /**
   * Ends the connection without losing a request: a warning first, and the last stream by name once the peer has
   * seen it (RFC 9113 §6.8). `finishDrain` does not wait for that.
   */
  drain(): void {
    if (this.state !== 'open') return
    this.state = 'draining'
    this.sendGoaway(INTEGER_31_MAX, ErrorCode.NO_ERROR)
    this.sender.output.small(FRAME_PING, 0, 0, 8, PING_MARK, DRAIN_PING)
  }

  /** Names the last stream now. */
  finishDrain(): void {
    if (this.state !== 'open' && this.state !== 'draining') return
    this.state = 'closing'
    this.lastServedId = this.lastPeerId
    this.sendGoaway(this.lastPeerId, ErrorCode.NO_ERROR)
    this.handler.onDrained()
  }

  /** The transport is gone: all streams end. */
  close(): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.reader.stop()
    this.sender.clear()
    this.endAll(ErrorCode.NO_ERROR)
  }

  /** Ends the connection for what the peer did (RFC 9113 §5.4.1). */
  fail(code: number, reason: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.failure = reason
    this.reader.stop()
    this.sendGoaway(this.lastPeerId, code)
    this.endAll(code)
    this.handler.onConnectionError(code, reason)
  }

  private endAll(code: number): void {
    for (const stream of [...this.streams.values()]) this.closeStream(stream, code, 'connection', FORGOTTEN)
  }

  private sendGoaway(lastStreamId: number, code: number): void {
    this.sender.output.small(FRAME_GOAWAY, 0, 0, 8, lastStreamId, code)
    this.wantsOutput()
  }

  // --- for the parts ---------------------------------------------------------------------------

  /** @internal */
  wantsOutput(): void {
    if (this.outputWanted) return
    this.outputWanted = true
    this.handler.onOutputWaiting()
  }

  /** A flush has begun: what comes to wait from now on is told anew. @internal */
  outputHeard(): void {
    this.outputWanted = false
  }

  /** @internal */
  outputTaken(): void {
    this.endedUnsent = 0
  }

  /** Our message is complete. @internal */
  sendEnded(stream: Http2Stream): void {
    if (stream.closed) return
    if (stream.receiveEnded) this.forget(stream, ENDED, null)
    else if (stream.discarding) this.resetStream(stream, ErrorCode.NO_ERROR)
  }

  /** @internal */
  resetStream(stream: Http2Stream, code: number): void {
    const { closed } = stream
    stream.handler = null
    stream.receiveEnded = true
    this.dropReceived(stream)
    this.sender.drop(stream)
    if (closed) return
    this.sender.output.small(FRAME_RST_STREAM, 0, stream.id, 4, code, 0)
    this.wantsOutput()
    this.forget(stream, RESET_BY_US, null)
  }

  /** @internal */
  discard(stream: Http2Stream): void {
    if (stream.discarding) return
    stream.discarding = true
    stream.endDelivered = true
    this.dropReceived(stream)
    if (stream.sendEnded && !stream.receiveEnded && !stream.closed) {
      this.resetStream(stream, ErrorCode.NO_ERROR)
    }
  }

  /** Hands over what waits, as long as the handler wants it. @internal */
  deliver(stream: Http2Stream): void {
    while (stream.flowing && stream.received !== null) {
      const piece = stream.received.shift() as Buffer
      if (stream.received.length === 0) {
        stream.received = null
        stream.receivedRoom = 0
      }
      stream.receivedBytes -= piece.length
      stream.handler?.onData(piece, 0, piece.length)
      this.giveBack(stream, piece.length)
    }
    if (stream.flowing && stream.receiveEnded && !stream.endDelivered && stream.received === null) {
      stream.endDelivered = true
      stream.handler?.onEnd(stream.receivedTrailers)
    }
  }

  // --- streams that end ------------------------------------------------------------------------

  /** The stream is over: its place is free, and only its number is remembered for a while. */
  private forget(stream: Http2Stream, how: number, origin: ResetOrigin | null): void {
    stream.closed = true
    this.streams.delete(stream.id)
    this.closedStreams.add(stream.id, how)
    if (this.sender.output.bytes > 0) this.endedUnsent++
    this.handler.onStreamClosed(stream, origin)
  }

  private closeStream(stream: Http2Stream, code: number, origin: ResetOrigin, how: number): void {
    // What came before is not to depend on where a read ends.
    if (stream.flowing && stream.received !== null) this.deliver(stream)
    const { handler, receiveEnded } = stream
    this.sender.drop(stream)
    // A client that has the whole response loses nothing (RFC 9113 §8.1): it is still delivered.
    const whole = receiveEnded && !this.isServer && origin === 'peer'
    if (!whole) {
      stream.receiveEnded = true
      stream.endDelivered = true
      this.dropReceived(stream)
      stream.handler = null
    }
    if (stream.closed) return
    this.forget(stream, how, origin)
    if (!whole) handler?.onReset(code, origin)
  }

  private dropReceived(stream: Http2Stream): void {
    const bytes = stream.receivedBytes
    stream.received = null
    stream.receivedRoom = 0
    stream.receivedBytes = 0
    if (bytes > 0) this.giveBack(null, bytes)
  }

  /** The peer broke a rule of one stream (RFC 9113 §5.4.2). It costs the peer one of its resets. */
  private streamError(stream: Http2Stream, code: number): void {
    this.sender.reply(FRAME_RST_STREAM, 0, stream.id, 4, code, 0)
    if (!stream.closed) this.closeStream(stream, code, 'rules', RESET_BY_US)
    this.countReset()
  }

  private countReset(): void {
    if (this.state !== 'closed' && !this.resets.take()) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_RESET_FLOOD')
    }
  }

  private countControl(): void {
    if (this.state !== 'closed' && !this.controls.take()) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_CONTROL_FLOOD')
    }
  }

  /** True for a stream that nobody has begun yet (RFC 9113 §5.1). */
  private isIdle(id: number): boolean {
    const own = (id & 1) === 1 ? !this.isServer : this.isServer
    return own ? id >= this.nextId || this.isServer : id > this.lastPeerId
  }

  // --- windows ---------------------------------------------------------------------------------

  private receiveWindowOfStream(): number {
    const { windowBytes } = this.options
    return this.settingsAcknowledged ? windowBytes : Math.max(windowBytes, DEFAULT_WINDOW_BYTES)
  }

  /** Bytes were used: the peer may send as many more, of this stream too if it is given. */
  private giveBack(stream: Http2Stream | null, bytes: number): void {
    if (this.state === 'closed') return
    this.unannounced += bytes
    if (this.unannounced * 2 >= this.options.connectionWindowBytes) {
      this.sender.reply(FRAME_WINDOW_UPDATE, 0, 0, 4, this.unannounced, 0)
      this.receiveWindow += this.unannounced
      this.unannounced = 0
    }
    if (stream === null || stream.receiveEnded || stream.discarding) return
    stream.unannounced += bytes
    if (stream.unannounced * 2 < this.options.windowBytes) return
    this.sender.reply(FRAME_WINDOW_UPDATE, 0, stream.id, 4, stream.unannounced, 0)
    stream.receiveWindow += stream.unannounced
    stream.unannounced = 0
  }

  // --- data ------------------------------------------------------------------------------------

  /** @internal */
  onDataStart(id: number, bytes: number): void {
    this.dataStream = null
    this.dataBytes = bytes
    this.dataRead = 0
    if (!this.checkStarted()) return
    this.receiveWindow -= bytes
    if (this.receiveWindow < 0) {
      this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'Data beyond the window of the connection')
      return
    }
    const stream = this.streams.get(id)
    if (stream === undefined) {
      this.lateData(id)
      return
    }
    if (stream.receiveEnded) {
      this.streamError(stream, ErrorCode.STREAM_CLOSED)
      return
    }
    if (!stream.headReceived) {
      this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    stream.receiveWindow -= bytes
    if (stream.receiveWindow < 0) {
      this.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR)
      return
    }
    this.dataStream = stream
  }

  /** Data on a stream that is not open. */
  private lateData(id: number): void {
    if (this.isIdle(id)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'DATA on an idle stream')
      return
    }
    const how = this.closedStreams.find(id)
    if (how === ENDED) {
      this.fail(ErrorCode.STREAM_CLOSED, 'DATA after the end of its stream')
      return
    }
    if (how !== RESET_BY_US && id <= this.lastServedId) {
      this.sender.reply(FRAME_RST_STREAM, 0, id, 4, ErrorCode.STREAM_CLOSED, 0)
      this.countReset()
    } else this.countControl()
  }

  /** @internal */
  onDataRun(buffer: Buffer, start: number, end: number): void {
    const stream = this.dataStream
    if (stream === null || stream.closed) return
    const size = end - start
    this.dataRead += size
    if (stream.owedBytes >= 0) {
      stream.owedBytes -= size
      if (stream.owedBytes < 0) {
        this.dataRead -= size
        this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
        return
      }
    }
    if (stream.discarding) {
      this.giveBack(null, size)
    } else if (stream.flowing && stream.received === null && !this.isToGather(stream, size)) {
      this.giveBack(stream, size)
      stream.handler?.onData(buffer, start, end)
    } else {
      stream.received ??= []
      stream.receivedRoom = gather(stream.received, stream.receivedRoom, buffer, start, end)
      stream.receivedBytes += size
    }
  }

  /** A read with many short runs: what they carry is handed over together, or each byte would cost a thousand times as much. */
  private isToGather(stream: Http2Stream, size: number): boolean {
    if (++this.runCount <= SINGLE_RUNS_MAX || size > GATHERED_RUN_BYTES_MAX) return false
    this.gathering.push(stream)
    return true
  }

  private deliverGathered(): void {
    const { gathering } = this
    for (let i = 0; i < gathering.length; i++) this.deliver(gathering[i] as Http2Stream)
    gathering.length = 0
  }

  /** @internal */
  onDataEnd(flags: number, paddingBytes: number): void {
    const stream = this.dataStream
    this.dataStream = null
    if (this.state === 'closed') return
    // What nobody read is given back at once: padding, and data of a stream that has ended.
    const rest = this.dataBytes - this.dataRead
    const live = stream !== null && !stream.closed
    if (rest > 0) this.giveBack(live && rest === paddingBytes ? stream : null, rest)
    const last = (flags & FLAG_END_STREAM) !== 0
    if (!last && this.dataBytes === paddingBytes) this.countControl()
    if (live && last) this.endReceiving(stream, null)
  }

  private endReceiving(stream: Http2Stream, trailers: string[] | null): void {
    if (stream.owedBytes > 0) {
      this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    stream.receiveEnded = true
    stream.receivedTrailers = trailers
    if (stream.sendEnded) this.forget(stream, ENDED, null)
    this.deliver(stream)
  }

  // --- field blocks ----------------------------------------------------------------------------

  /** @internal */
  onBlock(id: number, flags: number, dependsOn: number, buffer: Buffer, start: number, end: number): void {
    if (!this.checkStarted()) return
    // The table must stay in step, whatever becomes of the fields.
    const fields = this.decoder.decode(buffer, start, end)
    if (fields === null && this.decoder.failure === 'COMPRESSION_ERROR') {
      this.fail(ErrorCode.COMPRESSION_ERROR, 'A malformed field block')
      return
    }
    const endOfStream = (flags & FLAG_END_STREAM) !== 0
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.isServer && (id & 1) === 1 && id > this.lastPeerId) {
        this.beginRequest(id, fields, endOfStream, dependsOn)
      } else this.lateBlock(id)
      return
    }
    if (dependsOn === id) this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
    else if (stream.receiveEnded) this.streamError(stream, ErrorCode.STREAM_CLOSED)
    else if (fields === null) this.streamError(stream, ErrorCode.ENHANCE_YOUR_CALM)
    else if (stream.headReceived) this.readTrailers(stream, fields, endOfStream)
    else this.beginResponse(stream, fields, endOfStream)
  }

  /** A head or trailers for a stream that is not open. */
  private lateBlock(id: number): void {
    if (this.isIdle(id)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream that cannot be begun')
      return
    }
    if (id > this.lastServedId) return
    const how = this.closedStreams.find(id)
    if (how === RESET_BY_US) this.countControl()
    else if (how === FORGOTTEN) this.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream of a smaller number')
    else this.fail(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream')
  }

  private beginRequest(id: number, fields: string[] | null, endOfStream: boolean, dependsOn: number): void {
    this.lastPeerId = id
    // RFC 9113 §6.8: nobody answers what GOAWAY has excluded.
    if (id > this.lastServedId) {
      this.countControl()
      return
    }
    if (dependsOn === id) {
      this.refuse(id, ErrorCode.PROTOCOL_ERROR)
      return
    }
    if (this.streams.size + this.endedUnsent >= this.options.streamsMax) {
      this.refuse(id, ErrorCode.REFUSED_STREAM)
      return
    }
    const stream = new Http2Stream(this, id, this.peerWindowBytes, this.receiveWindowOfStream())
    stream.headReceived = true
    stream.receiveEnded = endOfStream
    const request = fields === null ? 'HTTP2_HEAD_BYTES' : readRequest(fields, this.options.connectProtocol)
    this.streams.set(id, stream)
    if (typeof request === 'string') {
      this.refuseRequest(stream, request)
      return
    }
    if (request.contentLength >= 0 && request.protocol === null) {
      if (endOfStream && request.contentLength > 0) {
        this.refuseRequest(stream, 'HTTP2_CONTENT_LENGTH')
        return
      }
      stream.owedBytes = request.contentLength
    }
    this.handler.onRequest(stream, request, endOfStream)
  }

  /** A stream that was not handed over to anybody. */
  private refuse(id: number, code: number): void {
    this.closedStreams.add(id, RESET_BY_US)
    this.sender.reply(FRAME_RST_STREAM, 0, id, 4, code, 0)
    this.countReset()
  }

  private refuseRequest(stream: Http2Stream, problem: RequestProblem): void {
    this.handler.onRequestRefused(stream, problem)
    if (this.state === 'closed') return
    if (problem === 'HTTP2_HEAD_BYTES') {
      // What is only too large is no violation: the answer stands by itself.
      if (!stream.closed) stream.discard()
      if (!stream.closed) this.resetStream(stream, ErrorCode.ENHANCE_YOUR_CALM)
      this.countReset()
    } else this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
  }

  private beginResponse(stream: Http2Stream, fields: string[], endOfStream: boolean): void {
    const response = readResponse(fields)
    if (typeof response === 'string') {
      this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    const { status, contentLength } = response
    if (status < 200) {
      if (endOfStream || status === 101) this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
      else stream.handler?.onResponse(response, false)
      return
    }
    stream.headReceived = true
    const bodyless = stream.bodyless || status === 204 || status === 304
    if (!bodyless && contentLength >= 0) {
      if (endOfStream && contentLength > 0) {
        this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
        return
      }
      stream.owedBytes = contentLength
    } else if (bodyless) stream.owedBytes = 0
    stream.handler?.onResponse(response, endOfStream)
    if (endOfStream && !stream.closed) this.endReceiving(stream, null)
  }

  private readTrailers(stream: Http2Stream, fields: string[], endOfStream: boolean): void {
    if (!endOfStream || checkTrailers(fields) !== null) this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
    else this.endReceiving(stream, fields.length === 0 ? null : fields)
  }

  // --- the other frames ------------------------------------------------------------------------

  /** @internal */
  onBroken(code: number, reason: string): void {
    this.fail(code, reason)
  }

  /** RFC 9113 §3.4: settings come first. */
  private checkStarted(): boolean {
    if (this.settingsReceived) return true
    this.fail(ErrorCode.PROTOCOL_ERROR, 'The first frame is not SETTINGS')
    return false
  }

  /** @internal */
  onFrame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (type === FRAME_SETTINGS) this.onSettings(flags, id, buffer, start, end)
    else if (this.checkStarted()) this.onLaterFrame(type, flags, id, buffer, start, end)
  }

  private onLaterFrame(
    type: number,
    flags: number,
    id: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    const size = end - start
    switch (type) {
      case FRAME_WINDOW_UPDATE:
        if (size !== 4) this.wrongSize(type)
        else this.onWindowUpdate(id, buffer.readUInt32BE(start) & INTEGER_31_MAX)
        break
      case FRAME_RST_STREAM:
        if (size !== 4) this.wrongSize(type)
        else this.onReset(id, buffer.readUInt32BE(start))
        break
      case FRAME_PING:
        if (id !== 0) this.wrongStream(type)
        else if (size !== 8) this.wrongSize(type)
        else this.onPing(flags, buffer.readUInt32BE(start), buffer.readUInt32BE(start + 4))
        break
      case FRAME_GOAWAY:
        if (id !== 0) this.wrongStream(type)
        else if (size < 8) this.wrongSize(type)
        else this.onGoaway(buffer.readUInt32BE(start) & INTEGER_31_MAX, buffer.readUInt32BE(start + 4))
        break
      case FRAME_PRIORITY:
        this.onPriority(id, size, size === 5 ? buffer.readUInt32BE(start) & INTEGER_31_MAX : 0)
        break
      case FRAME_PUSH_PROMISE:
        // A client may not push, and we have forbidden it to servers (RFC 9113 §8.4).
        this.fail(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE')
        break
      case FRAME_CONTINUATION:
        break // the reader's
      default:
        this.countControl() // RFC 9113 §4.1: unknown frames are ignored
    }
  }

  private wrongSize(type: number): void {
    this.fail(ErrorCode.FRAME_SIZE_ERROR, `A frame of type ${type} of a wrong size`)
  }

  private wrongStream(type: number): void {
    this.fail(ErrorCode.PROTOCOL_ERROR, `A frame of type ${type} on a wrong stream`)
  }

  private onSettings(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    const size = end - start
    if (id !== 0) {
      this.wrongStream(FRAME_SETTINGS)
    } else if ((flags & FLAG_ACK) !== 0) {
      if (size !== 0) this.wrongSize(FRAME_SETTINGS)
      else if (this.checkStarted()) this.acknowledged()
    } else if (size % 6 !== 0) {
      this.wrongSize(FRAME_SETTINGS)
    } else if (size / 6 > this.options.settingsPerFrameMax) {
      this.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_SETTINGS')
    } else {
      if (this.settingsReceived) this.countControl()
      for (let at = start; at < end && this.state !== 'closed'; at += 6) {
        this.onSetting(buffer.readUInt16BE(at), buffer.readUInt32BE(at + 2))
      }
      if ((this.state as Http2State) === 'closed') return
      this.settingsReceived = true
      this.sender.reply(FRAME_SETTINGS, FLAG_ACK, 0, 0, 0, 0)
      this.handler.onSettings()
    }
  }

  private onSetting(name: number, value: number): void {
    switch (name) {
      case SETTING_HEADER_TABLE_SIZE:
        this.encoder.setPeerTableBytes(Math.min(value, this.options.tableBytesMax))
        break
      case SETTING_ENABLE_PUSH:
        if (value > 1 || (value === 1 && !this.isServer))
          this.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_PUSH')
        break
      case SETTING_MAX_CONCURRENT_STREAMS:
        this.peerStreamsMax = value
        break
      case SETTING_INITIAL_WINDOW_SIZE:
        if (value > INTEGER_31_MAX) this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE')
        else this.moveWindows(value)
        break
      case SETTING_MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value > 2 ** 24 - 1)
          this.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_MAX_FRAME_SIZE')
        else this.sender.limitFrames(value)
        break
      case SETTING_ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: once offered it stays.
        if (value > 1 || (value === 0 && this.peerConnectProtocol)) {
          this.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_CONNECT_PROTOCOL')
        } else this.peerConnectProtocol = value === 1
        break
    }
  }

  /** RFC 9113 §6.9.2: the windows of open streams move with the initial one. */
  private moveWindows(bytes: number): void {
    const moved = bytes - this.peerWindowBytes
    this.peerWindowBytes = bytes
    for (const stream of this.streams.values()) {
      stream.sendWindow += moved
      if (stream.sendWindow > INTEGER_31_MAX) {
        this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'A window above 2^31-1')
        return
      }
      if (moved > 0) this.sender.standInLine(stream)
    }
    if (moved > 0 && this.sender.hasWork) this.wantsOutput()
  }

  private acknowledged(): void {
    if (this.settingsAcknowledged) {
      this.countControl()
      return
    }
    this.settingsAcknowledged = true
    const moved = this.options.windowBytes - Math.max(this.options.windowBytes, DEFAULT_WINDOW_BYTES)
    if (moved !== 0) for (const stream of this.streams.values()) stream.receiveWindow += moved
  }

  private onWindowUpdate(id: number, increment: number): void {
    if (--this.sender.updatesEarned < 0) {
      this.sender.updatesEarned = 0
      this.countControl()
      if (this.state === 'closed') return
    } else if (this.sender.updatesEarned > UPDATES_EARNED_MAX) this.sender.updatesEarned = UPDATES_EARNED_MAX
    if (id === 0) {
      this.sender.window += increment
      if (increment === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
      else if (this.sender.window > INTEGER_31_MAX)
        this.fail(ErrorCode.FLOW_CONTROL_ERROR, 'A window above 2^31-1')
      else if (this.sender.hasWork) this.wantsOutput()
      return
    }
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.isIdle(id)) this.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
      return
    }
    stream.sendWindow += increment
    if (increment === 0) this.streamError(stream, ErrorCode.PROTOCOL_ERROR)
    else if (stream.sendWindow > INTEGER_31_MAX) this.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR)
    else if (stream.queuedBytes > 0) {
      this.sender.standInLine(stream)
      this.wantsOutput()
    }
  }

  private onReset(id: number, code: number): void {
    const stream = this.streams.get(id)
    if (stream !== undefined) {
      this.closeStream(stream, code, 'peer', RESET_BY_PEER)
      if (this.isServer) this.countReset()
    } else if (id === 0 || this.isIdle(id))
      this.fail(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    else this.countControl()
  }

  private onPing(flags: number, first: number, second: number): void {
    if ((flags & FLAG_ACK) === 0) {
      this.countControl()
      if (this.state !== 'closed') this.sender.reply(FRAME_PING, FLAG_ACK, 0, 8, first, second)
    } else if (first === PING_MARK && second === LIVE_PING) this.handler.onPong()
    else if (first === PING_MARK && second === DRAIN_PING && this.state === 'draining') this.finishDrain()
    else this.countControl()
  }

  private onGoaway(lastStreamId: number, code: number): void {
    this.countControl()
    if (this.state === 'closed') return
    if (!this.isServer) {
      // The same frame twice names ever smaller ids, so that a peer can drain without losing requests.
      this.peerLastStreamId = Math.min(this.peerLastStreamId, lastStreamId)
      for (const stream of [...this.streams.values()]) {
        if (stream.id > this.peerLastStreamId) this.closeStream(stream, code, 'unprocessed', RESET_BY_PEER)
      }
    }
    this.handler.onGoaway(lastStreamId, code)
  }

  private onPriority(id: number, size: number, dependsOn: number): void {
    this.countControl()
    if (this.state === 'closed') return
    const stream = this.streams.get(id)
    if (id === 0) this.wrongStream(FRAME_PRIORITY)
    else if (size === 5 && dependsOn !== id) return
    else {
      const code = size === 5 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR
      if (stream !== undefined) this.streamError(stream, code)
      else if (this.isIdle(id)) this.fail(code, 'A malformed PRIORITY')
      else {
        this.sender.reply(FRAME_RST_STREAM, 0, id, 4, code, 0)
        this.countReset()
      }
    }
  }

  /** For logs: what a code means. */
  describe(code: number): string {
    return errorName(code)
  }
}
