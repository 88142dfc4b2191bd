import { HpackDecoder } from '@cirque/hpack'
import { FORGOTTEN, RESET_BY_US } from './closed-streams.ts'
import type { Http2Connection } from './connection.ts'
import type { RequestProblem } from './connection-handler.ts'
import { ErrorCode, FLAG_END_STREAM } from './constants.ts'
import type { BlockSink } from './frame-reader.ts'
import { checkTrailers, readRequest, readResponse } from './message-fields.ts'
import { HALF_CLOSED_REMOTE, OPEN } from './states.ts'
import { Http2Stream } from './stream.ts'

/** The field blocks that come: requests, responses and trailers (RFC 9113 §8). */
export class BlockReceiver implements BlockSink {
  private readonly connection: Http2Connection
  private readonly decoder: HpackDecoder

  constructor(connection: Http2Connection) {
    const { tableBytesMax, headerListBytesMax, fieldsMax } = connection.options
    this.connection = connection
    this.decoder = new HpackDecoder({ tableBytesMax, listBytesMax: headerListBytesMax, fieldsMax })
  }

  onBlock(id: number, flags: number, dependsOn: number, buffer: Buffer, start: number, end: number): void {
    const { connection } = this
    const { streams } = connection
    if (!connection.checkStarted()) return
    // The table must stay in step, whatever becomes of the fields.
    const fields = this.decoder.decode(buffer, start, end)
    if (fields === null && this.decoder.failure === 'COMPRESSION_ERROR') {
      connection.fail(ErrorCode.COMPRESSION_ERROR, 'A malformed field block')
      return
    }
    const endOfStream = (flags & FLAG_END_STREAM) !== 0
    const stream = streams.open.get(id)
    if (stream === undefined) {
      if (connection.isServer && (id & 1) === 1 && id > streams.lastPeerId) {
        this.beginRequest(id, fields, endOfStream, dependsOn)
      } else this.lateBlock(id)
      return
    }
    if (dependsOn === id) streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
    else if (stream.receiveEnded) streams.fault(stream, ErrorCode.STREAM_CLOSED)
    else if (fields === null) streams.fault(stream, ErrorCode.ENHANCE_YOUR_CALM)
    else if (stream.headReceived) this.readTrailers(stream, fields, endOfStream)
    else this.beginResponse(stream, fields, endOfStream)
  }

  /** A head or trailers for a stream that is not open. */
  private lateBlock(id: number): void {
    const { connection } = this
    const { streams } = connection
    if (streams.isIdle(id)) {
      connection.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream that cannot be begun')
      return
    }
    if (id > streams.lastServedId) return
    const how = streams.closed.find(id)
    if (how === RESET_BY_US) connection.allowance.countControl()
    else if (how === FORGOTTEN)
      connection.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on a stream of a smaller number')
    else connection.fail(ErrorCode.STREAM_CLOSED, 'HEADERS on a closed stream')
  }

  // --- requests --------------------------------------------------------------------------------

  private beginRequest(id: number, fields: string[] | null, endOfStream: boolean, dependsOn: number): void {
    const { connection } = this
    const { streams, options } = connection
    streams.lastPeerId = id
    // RFC 9113 §6.8: nobody answers what GOAWAY has excluded.
    if (id > streams.lastServedId) {
      connection.allowance.countControl()
      return
    }
    if (dependsOn === id) {
      streams.refuse(id, ErrorCode.PROTOCOL_ERROR)
      return
    }
    if (streams.countedSize >= options.streamsMax) {
      streams.refuse(id, ErrorCode.REFUSED_STREAM)
      return
    }
    const stream = new Http2Stream(connection, id)
    stream.headReceived = true
    if (!stream.become(OPEN) || (endOfStream && !stream.become(HALF_CLOSED_REMOTE))) return
    const request =
      fields === null ? 'HTTP2_HEAD_BYTES' : readRequest(fields, options.connectProtocol, this.decoder)
    streams.open.add(stream)
    if (typeof request === 'string') {
      this.refuseRequest(stream, request)
      return
    }
    // What a tunnel carries is no content (RFC 9110 §9.3.6).
    if (request.contentLength >= 0 && request.method !== 'CONNECT') {
      if (endOfStream && request.contentLength > 0) {
        this.refuseRequest(stream, 'HTTP2_CONTENT_LENGTH')
        return
      }
      stream.owedBytes = request.contentLength
    }
    // Some clients say only then that there is no body; it is one request all the same.
    const mayBeEmpty = request.contentLength <= 0 && request.method !== 'CONNECT'
    const isEmpty = endOfStream || (mayBeEmpty && connection.takeEmptyEnd(id))
    if (isEmpty && !endOfStream && !stream.become(HALF_CLOSED_REMOTE)) return
    connection.handler.onRequest(stream, request, isEmpty)
  }

  private refuseRequest(stream: Http2Stream, problem: RequestProblem): void {
    const { connection } = this
    const { streams } = connection
    connection.handler.onRequestRefused(stream, problem)
    if (connection.ended) return
    if (problem === 'HTTP2_HEAD_BYTES') {
      // What is only too large is no violation: the answer stands by itself.
      if (!stream.closed) streams.discard(stream)
      if (!stream.closed) streams.reset(stream, ErrorCode.ENHANCE_YOUR_CALM)
      connection.allowance.countReset()
    } else streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
  }

  // --- responses -------------------------------------------------------------------------------

  private beginResponse(stream: Http2Stream, fields: string[], endOfStream: boolean): void {
    const { streams, data } = this.connection
    const response = readResponse(fields, this.decoder)
    if (typeof response === 'string') {
      streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
      return
    }
    const { status, contentLength } = response
    if (status < 200) {
      if (endOfStream || status === 101) streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
      else stream.handler?.onResponse(response, false)
      return
    }
    stream.headReceived = true
    const bodyless = stream.bodyless || status === 204 || status === 304
    if (!bodyless && contentLength >= 0) {
      if (endOfStream && contentLength > 0) {
        streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
        return
      }
      stream.owedBytes = contentLength
    } else if (bodyless) stream.owedBytes = 0
    stream.handler?.onResponse(response, endOfStream)
    if (endOfStream && !stream.closed) data.end(stream, null)
  }

  private readTrailers(stream: Http2Stream, fields: string[], endOfStream: boolean): void {
    const { streams, data } = this.connection
    if (!endOfStream || checkTrailers(fields, this.decoder) !== null)
      streams.fault(stream, ErrorCode.PROTOCOL_ERROR)
    else data.end(stream, fields.length === 0 ? null : fields)
  }
}
