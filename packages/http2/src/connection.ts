import type { ProxyError } from '@cirque/error'
import { HpackEncoder } from '@cirque/hpack'
import { BlockReceiver } from './block-receiver.ts'
import type { Http2ConnectionHandler, Http2State } from './connection-handler.ts'
import {
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  FRAME_GOAWAY,
  FRAME_PING,
  FRAME_WINDOW_UPDATE,
  INTEGER_31_MAX,
  PREFACE,
} from './constants.ts'
import { ControlFrames, DRAIN_PING, LIVE_PING, PING_MARK } from './control-frames.ts'
import { DataReceiver } from './data-receiver.ts'
import { FrameReader } from './frame-reader.ts'
import { type Http2Options, type ResolvedHttp2Options, resolveHttp2Options } from './options.ts'
import { PeerAllowance } from './peer-allowance.ts'
import { Http2Sender } from './sender.ts'
import { PeerSettings, writeSettings } from './settings.ts'
import { CLOSING, CONNECTION_STATES, type ConnectionState, DRAINING, ENDED, SERVING } from './states.ts'
import { Http2Stream, type Http2StreamHandler } from './stream.ts'
import { StreamTable } from './stream-table.ts'

/**
 * One HTTP/2 connection (RFC 9113), either end of it, without any input or output of its own: `receive` takes bytes
 * in, `handler.writeOutput` takes bytes out.
 *
 * This is its life: what begins and ends it, and what its owner may ask of it. The frames that come go from the reader
 * to one of three parts, by what they carry; what goes out passes the sender.
 */
export class Http2Connection {
  readonly handler: Http2ConnectionHandler
  readonly options: ResolvedHttp2Options
  readonly isServer: boolean
  /** Why the connection was ended for what the peer did; null while it was not. Known before its streams hear of it. */
  failure: string | null = null
  /** The last stream that the peer will serve. */
  peerLastStreamId: number = INTEGER_31_MAX

  /** Why the connection was ended for a defect of ours; null while it was not. Known before its streams hear of it. */
  broken: ProxyError | null = null

  /** @internal */
  life: ConnectionState = SERVING
  /** @internal */
  readonly streams: StreamTable
  /** Calls of `ping()` that `onPong` has not followed yet. @internal */
  pingsUnanswered = 0
  /** @internal */
  readonly sender: Http2Sender
  /** @internal */
  readonly peer: PeerSettings
  /** @internal */
  readonly data: DataReceiver
  /** @internal */
  readonly allowance: PeerAllowance
  private readonly reader: FrameReader
  private outputWanted = false

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
    const encoder = new HpackEncoder({ tableBytesMax: resolved.tableBytesMax })
    this.streams = new StreamTable(this, resolved.streamsMax)
    this.sender = new Http2Sender(this, encoder, resolved.streamQueueBytesMax)
    this.peer = new PeerSettings(this, encoder)
    this.data = new DataReceiver(this)
    this.allowance = new PeerAllowance(this, resolved)
    this.reader = new FrameReader(
      { data: this.data, blocks: new BlockReceiver(this), control: new ControlFrames(this) },
      (code, reason) => this.fail(code, reason),
      this.isServer,
      resolved,
    )
    this.begin()
  }

  private begin(): void {
    const { output } = this.sender
    const { options } = this
    if (!this.isServer) output.copy(PREFACE, 0, PREFACE.length)
    writeSettings(output, options, this.isServer)
    const more = options.connectionWindowBytes - DEFAULT_WINDOW_BYTES
    if (more > 0) output.small(FRAME_WINDOW_UPDATE, 0, 0, 4, more, 0)
    this.wantsOutput()
  }

  // --- what the owner may know -----------------------------------------------------------------

  get state(): Http2State {
    return CONNECTION_STATES.names[this.life] as Http2State
  }

  /** True when nothing has a meaning any more. @internal */
  get ended(): boolean {
    return this.life === ENDED
  }

  /** Streams that are open now. */
  get openStreams(): number {
    return this.streams.open.size
  }

  /** True when a stream may be opened. */
  get available(): boolean {
    const { streams } = this
    return (
      this.life === SERVING &&
      this.peerLastStreamId === INTEGER_31_MAX &&
      streams.open.size < this.peer.streamsMax &&
      streams.nextId <= INTEGER_31_MAX
    )
  }

  /** Streams that the peer takes at once; without limit until its settings have come. */
  get peerStreamsMax(): number {
    return this.peer.streamsMax
  }

  /** The peer takes extended CONNECT (RFC 8441). */
  get peerConnectProtocol(): boolean {
    return this.peer.connectProtocol
  }

  /** Whether a head of these fields is within what the peer has said it takes; true until it has said so. */
  takesFields(fields: readonly string[]): boolean {
    return this.peer.takesFields(fields)
  }

  /** The peer's first settings have come. */
  get settingsReceived(): boolean {
    return this.peer.received
  }

  // --- the owner's calls -----------------------------------------------------------------------

  /**
   * Takes bytes `[start, end)` that came from the peer. Their memory is free again when it returns.
   *
   * @returns False after `framesAtOnceMax` frames: the rest waits, in a copy, for `resumeInput()`, which is to be
   * called in another turn of the event loop. Until then nothing should be read.
   */
  receive(buffer: Buffer, start: number, end: number): boolean {
    const all = this.reader.receive(buffer, start, end)
    this.data.onReadEnd()
    return all
  }

  /** Goes on with what `receive` has left. False when there is still more. */
  resumeInput(): boolean {
    const all = this.reader.resume()
    this.data.onReadEnd()
    return all
  }

  /** Within `receive` or `resumeInput`: what follows the present frame waits, as after `framesAtOnceMax` of them. */
  yieldInput(): void {
    this.reader.yield()
  }

  /** True while frames wait for `resumeInput()`. */
  get inputWaiting(): boolean {
    return this.reader.waiting
  }

  /** @internal Within a request's block: whether an empty DATA that ends the stream comes right behind; uses it up. */
  takeEmptyEnd(id: number): boolean {
    return this.reader.takeEmptyEnd(id)
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
   * @param neverIndexed - Names of fields that no table of the peer's may keep (RFC 7541 §6.2.3).
   * @returns null when the connection takes no stream; see `available`.
   */
  open(
    fields: readonly string[],
    endOfStream: boolean,
    handler: Http2StreamHandler,
    neverIndexed: ReadonlySet<string> | null = null,
  ): Http2Stream | null {
    if (!this.available) return null
    const { streams } = this
    const id = streams.nextId
    streams.nextId += 2
    const stream = new Http2Stream(this, id)
    stream.handler = handler
    stream.bodyless = fields[1] === 'HEAD'
    streams.open.add(stream)
    stream.sendHead(fields, endOfStream, neverIndexed)
    return stream
  }

  /** Asks the peer for a sign of life; `onPong` tells of it. */
  ping(): void {
    if (this.ended) return
    this.pingsUnanswered++
    this.sender.output.small(FRAME_PING, 0, 0, 8, PING_MARK, LIVE_PING)
    this.wantsOutput()
  }

  /**
   * Ends the connection without losing a request: a warning first, and the last stream by name once the peer has
   * seen it (RFC 9113 §6.8). `finishDrain` does not wait for that.
   */
  drain(): void {
    if (this.life !== SERVING || !this.become(DRAINING)) return
    this.sendGoaway(INTEGER_31_MAX, ErrorCode.NO_ERROR)
    this.sender.output.small(FRAME_PING, 0, 0, 8, PING_MARK, DRAIN_PING)
  }

  /** Names the last stream now. */
  finishDrain(): void {
    if (this.life >= CLOSING || !this.become(CLOSING)) return
    const { streams } = this
    streams.lastServedId = streams.lastPeerId
    this.sendGoaway(streams.lastPeerId, ErrorCode.NO_ERROR)
    this.handler.onDrained()
  }

  /** The transport is gone: all streams end. */
  close(): void {
    if (this.ended) return
    // Whatever it was: a question here could only keep it open.
    this.life = ENDED
    this.reader.stop()
    this.sender.clear()
    this.streams.closeAll(ErrorCode.NO_ERROR)
  }

  /** Ends the connection for what the peer did (RFC 9113 §5.4.1). */
  fail(code: number, reason: string): void {
    if (this.ended) return
    this.failure = reason
    this.cut(code)
    this.handler.onConnectionError(code, reason)
  }

  private cut(code: number): void {
    this.life = ENDED
    this.reader.stop()
    this.sendGoaway(this.streams.lastPeerId, code)
    this.streams.closeAll(code)
  }

  // --- defects of ours -------------------------------------------------------------------------

  private become(next: ConnectionState): boolean {
    if (CONNECTION_STATES.allows(this.life, next)) {
      this.life = next
      return true
    }
    this.breakOff(CONNECTION_STATES.broken(this.life, next))
    return false
  }

  /** A state of the connection, or of what its owner keeps of it, is broken: its streams end with it. */
  breakOff(error: ProxyError): void {
    this.broken ??= error
    if (!this.ended) this.cut(ErrorCode.INTERNAL_ERROR)
    this.handler.onBroken(null, error)
  }

  /** A state of one stream is broken. Others go on: what they share has no part in it. @internal */
  breakStream(stream: Http2Stream, error: ProxyError): void {
    const unanswered = !stream.sendEnded
    this.handler.onBroken(stream, error)
    const answered = unanswered && stream.sendEnded
    this.streams.reset(stream, answered ? ErrorCode.NO_ERROR : ErrorCode.INTERNAL_ERROR)
  }

  private sendGoaway(lastStreamId: number, code: number): void {
    this.sender.output.small(FRAME_GOAWAY, 0, 0, 8, lastStreamId, code)
    this.wantsOutput()
  }

  // --- for the parts ---------------------------------------------------------------------------

  /** RFC 9113 §3.4: settings come first. @internal */
  checkStarted(): boolean {
    if (this.peer.received) return true
    this.fail(ErrorCode.PROTOCOL_ERROR, 'The first frame is not SETTINGS')
    return false
  }

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
}
