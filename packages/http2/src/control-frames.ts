import type { Http2Connection } from './connection.ts'
import {
  ErrorCode,
  FLAG_ACK,
  FRAME_CONTINUATION,
  FRAME_GOAWAY,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  INTEGER_31_MAX,
} from './constants.ts'
import type { ControlSink } from './frame-reader.ts'
import { SETTING_BYTES } from './settings.ts'
import { DRAINING } from './states.ts'

/** What our own pings carry: a mark, and what they are for. */
export const PING_MARK = 0x63_69_72_71
export const DRAIN_PING = 1
export const LIVE_PING = 2

/** The frames that come and carry no message: settings, pings, resets, windows and the like (RFC 9113 §6). */
export class ControlFrames implements ControlSink {
  private readonly connection: Http2Connection

  constructor(connection: Http2Connection) {
    this.connection = connection
  }

  onFrame(type: number, flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    if (type === FRAME_SETTINGS) this.onSettings(flags, id, buffer, start, end)
    else if (this.connection.checkStarted()) this.onLaterFrame(type, flags, id, buffer, start, end)
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
        this.connection.fail(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE')
        break
      case FRAME_CONTINUATION:
        break // the reader's
      default:
        this.connection.allowance.countControl() // RFC 9113 §4.1: unknown frames are ignored
    }
  }

  private wrongSize(type: number): void {
    this.connection.fail(ErrorCode.FRAME_SIZE_ERROR, `A frame of type ${type} of a wrong size`)
  }

  private wrongStream(type: number): void {
    this.connection.fail(ErrorCode.PROTOCOL_ERROR, `A frame of type ${type} on a wrong stream`)
  }

  private onSettings(flags: number, id: number, buffer: Buffer, start: number, end: number): void {
    const { connection } = this
    const size = end - start
    if (id !== 0) {
      this.wrongStream(FRAME_SETTINGS)
    } else if ((flags & FLAG_ACK) !== 0) {
      if (size !== 0) this.wrongSize(FRAME_SETTINGS)
      else if (connection.checkStarted() && !connection.data.onAcknowledged()) {
        connection.allowance.countControl()
      }
    } else if (size % SETTING_BYTES !== 0) {
      this.wrongSize(FRAME_SETTINGS)
    } else if (size / SETTING_BYTES > connection.options.settingsPerFrameMax) {
      connection.fail(ErrorCode.ENHANCE_YOUR_CALM, 'HTTP2_SETTINGS')
    } else {
      if (connection.settingsReceived) connection.allowance.countControl()
      if (connection.ended || !connection.peer.take(buffer, start, end)) return
      connection.sender.reply(FRAME_SETTINGS, FLAG_ACK, 0, 0, 0, 0)
      connection.handler.onSettings()
    }
  }

  private onWindowUpdate(id: number, increment: number): void {
    const { connection } = this
    const { sender, streams } = connection
    connection.allowance.countUpdate()
    if (connection.ended) return
    if (id === 0) {
      sender.window += increment
      if (increment === 0) connection.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
      else if (sender.window > INTEGER_31_MAX) {
        connection.fail(ErrorCode.FLOW_CONTROL_ERROR, 'A window above 2^31-1')
      } else if (sender.hasWork) connection.wantsOutput()
      return
    }
    const stream = streams.open.get(id)
    if (stream === undefined) {
      if (streams.isIdle(id)) connection.fail(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
      return
    }
    stream.sendWindow += increment
    if (increment === 0) streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
    else if (stream.sendWindow > INTEGER_31_MAX) streams.fault(stream, ErrorCode.FLOW_CONTROL_ERROR)
    else if (stream.queuedBytes > 0) {
      sender.standInLine(stream)
      connection.wantsOutput()
    }
  }

  private onReset(id: number, code: number): void {
    const { connection } = this
    const { streams, allowance } = connection
    const stream = streams.open.get(id)
    if (stream !== undefined) {
      streams.closedByPeer(stream, code, 'peer')
      if (connection.isServer) allowance.countReset()
    } else if (id === 0 || streams.isIdle(id)) {
      connection.fail(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
    } else allowance.countControl()
  }

  private onPing(flags: number, first: number, second: number): void {
    const { connection } = this
    const { allowance } = connection
    if ((flags & FLAG_ACK) === 0) {
      allowance.countControl()
      if (!connection.ended) connection.sender.reply(FRAME_PING, FLAG_ACK, 0, 8, first, second)
    } else if (first === PING_MARK && second === LIVE_PING && connection.pingsUnanswered > 0) {
      connection.pingsUnanswered--
      connection.handler.onPong()
    } else if (first === PING_MARK && second === DRAIN_PING && connection.life === DRAINING) {
      connection.finishDrain()
    } else allowance.countControl()
  }

  private onGoaway(lastStreamId: number, code: number): void {
    const { connection } = this
    const { streams } = connection
    connection.allowance.countControl()
    if (connection.ended) return
    if (!connection.isServer) {
      // The same frame twice names ever smaller ids, so that a peer can drain without losing requests.
      const last = Math.min(connection.peerLastStreamId, lastStreamId)
      connection.peerLastStreamId = last
      for (const stream of streams.open.values()) {
        if (stream.id > last) streams.closedByPeer(stream, code, 'unprocessed')
      }
    }
    connection.handler.onGoaway(lastStreamId, code)
  }

  private onPriority(id: number, size: number, dependsOn: number): void {
    const { connection } = this
    const { streams, allowance } = connection
    allowance.countControl()
    if (connection.ended) return
    if (id === 0) this.wrongStream(FRAME_PRIORITY)
    else if (size === 5 && dependsOn !== id) return
    else {
      const stream = streams.open.get(id)
      const code = size === 5 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FRAME_SIZE_ERROR
      if (stream !== undefined) streams.fault(stream, code)
      else if (streams.isIdle(id)) connection.fail(code, 'A malformed PRIORITY')
      else {
        connection.sender.reply(FRAME_RST_STREAM, 0, id, 4, code, 0)
        allowance.countReset()
      }
    }
  }
}
