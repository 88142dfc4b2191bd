import type { HpackEncoder } from '@cirque/hpack'
import type { Http2Connection } from './connection.ts'
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  ErrorCode,
  FRAME_HEAD_BYTES,
  FRAME_SETTINGS,
  INTEGER_31_MAX,
  SETTING_ENABLE_CONNECT_PROTOCOL,
  SETTING_ENABLE_PUSH,
  SETTING_HEADER_TABLE_SIZE,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTING_MAX_CONCURRENT_STREAMS,
  SETTING_MAX_FRAME_SIZE,
  SETTING_MAX_HEADER_LIST_SIZE,
} from './constants.ts'
import type { ResolvedHttp2Options } from './options.ts'
import type { OutputQueue } from './output-queue.ts'

/** Bytes of one setting (RFC 9113 §6.5.1). */
export const SETTING_BYTES = 6
/** What a field counts besides its name and value (RFC 9113 §6.5.2). */
const FIELD_BYTES = 32
const FRAME_BYTES_MOST = 2 ** 24 - 1

/** Our settings, the first frame of ours. */
export function writeSettings(output: OutputQueue, options: ResolvedHttp2Options, isServer: boolean): void {
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
  if (isServer) {
    settings.push(SETTING_MAX_CONCURRENT_STREAMS, options.streamsMax)
    if (options.connectProtocol) settings.push(SETTING_ENABLE_CONNECT_PROTOCOL, 1)
  } else settings.push(SETTING_ENABLE_PUSH, 0)
  const size = (settings.length / 2) * SETTING_BYTES
  const at = output.reserve(FRAME_HEAD_BYTES + size)
  output.writeHead(at, size, FRAME_SETTINGS, 0, 0)
  let to = at + FRAME_HEAD_BYTES
  for (let i = 0; i < settings.length; i += 2) {
    to = output.memory.writeUInt16BE(settings[i] as number, to)
    to = output.memory.writeUInt32BE(settings[i + 1] as number, to)
  }
  output.commit(FRAME_HEAD_BYTES + size)
}

/** What the peer's settings say; its defaults until they have come (RFC 9113 §6.5.2). */
export class PeerSettings {
  /** The peer's first settings have come. */
  received = false
  /** Streams that the peer takes at once. */
  streamsMax: number = Number.POSITIVE_INFINITY
  /** The peer takes extended CONNECT (RFC 8441). */
  connectProtocol = false
  /** What we may send on a stream that begins now. */
  windowBytes: number = DEFAULT_WINDOW_BYTES
  /** The largest field section that the peer takes. */
  private headerListBytesMax: number = Number.POSITIVE_INFINITY

  private readonly connection: Http2Connection
  private readonly encoder: HpackEncoder

  constructor(connection: Http2Connection, encoder: HpackEncoder) {
    this.connection = connection
    this.encoder = encoder
  }

  /** Whether a section of these fields is within what the peer takes (RFC 9113 §6.5.2). */
  takesFields(fields: readonly string[]): boolean {
    if (this.headerListBytesMax === Number.POSITIVE_INFINITY) return true
    let bytes = (fields.length / 2) * FIELD_BYTES
    for (let i = 0; i < fields.length; i++) bytes += (fields[i] as string).length
    return bytes <= this.headerListBytesMax
  }

  /** Takes whole settings; false when one of them has ended the connection. */
  take(buffer: Buffer, start: number, end: number): boolean {
    const { connection } = this
    for (let at = start; at < end; at += SETTING_BYTES) {
      this.set(buffer.readUInt16BE(at), buffer.readUInt32BE(at + 2))
      if (connection.ended) return false
    }
    this.received = true
    return true
  }

  private set(name: number, value: number): void {
    const { connection } = this
    switch (name) {
      case SETTING_HEADER_TABLE_SIZE:
        this.encoder.setPeerTableBytes(Math.min(value, connection.options.tableBytesMax))
        break
      case SETTING_ENABLE_PUSH:
        if (value > 1 || (value === 1 && !connection.isServer)) {
          connection.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_PUSH')
        }
        break
      case SETTING_MAX_CONCURRENT_STREAMS:
        this.streamsMax = value
        break
      case SETTING_INITIAL_WINDOW_SIZE:
        if (value <= INTEGER_31_MAX) this.moveWindows(value)
        else connection.fail(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE')
        break
      case SETTING_MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value > FRAME_BYTES_MOST) {
          connection.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_MAX_FRAME_SIZE')
        } else connection.sender.limitFrames(value)
        break
      case SETTING_MAX_HEADER_LIST_SIZE:
        this.headerListBytesMax = value
        break
      case SETTING_ENABLE_CONNECT_PROTOCOL:
        // RFC 8441 §3: once offered it stays.
        if (value > 1 || (value === 0 && this.connectProtocol)) {
          connection.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_CONNECT_PROTOCOL')
        } else this.connectProtocol = value === 1
        break
    }
  }

  /** RFC 9113 §6.9.2: the windows of open streams move with the initial one. */
  private moveWindows(bytes: number): void {
    const { connection } = this
    const { sender } = connection
    const moved = bytes - this.windowBytes
    this.windowBytes = bytes
    for (const stream of connection.streams.open.values()) {
      stream.sendWindow += moved
      if (stream.sendWindow > INTEGER_31_MAX) {
        connection.fail(ErrorCode.FLOW_CONTROL_ERROR, 'A window above 2^31-1')
        return
      }
      if (moved > 0) sender.standInLine(stream)
    }
    if (moved > 0 && sender.hasWork) connection.wantsOutput()
  }
}
