import {
  bodylessStatus,
  encodeChunkHead,
  latin1,
  type RequestHeadParser,
  type ResponseHeader,
} from '@cirque/http'
import {
  BODYLESS,
  CHUNKED,
  COMPLETE,
  LENGTH,
  type ResponseState,
  TUNNEL,
  UNTIL_END,
  UNWRITTEN,
} from '../sessions/session-states.ts'
import {
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../sessions/write-result.ts'
import { responseHeadText, statusLine, unframedFieldsText } from './head-writer.ts'
import type { Http1ServerConnection } from './server-connection.ts'
import { Http1ServerRequest } from './server-request.ts'
import { TEXT_BODY_BYTES_MAX, trailersToWire, writeGathered } from './wire.ts'

/** The half of an exchange with a client that writes the response. */
export abstract class Http1ServerResponse extends Http1ServerRequest {
  protected keepAlive: boolean
  /** Text that goes out with the next write: the head, small bodies, chunk framing. */
  protected text = ''
  private drainWanted = false

  constructor(connection: Http1ServerConnection, parser: RequestHeadParser) {
    super(connection, parser)
    // What follows a CONNECT may be meant for the tunnel already: if none is opened, it is read as nothing else.
    this.keepAlive = parser.keepAlive && !this.connectWanted
  }

  /** Writes the 101 and all that it means. */
  protected abstract writeSwitching(header: ResponseHeader): void
  /** Ends our side of the tunnel. */
  protected abstract endTunnelWrites(): void
  /** The response is complete. */
  protected abstract ended(): void

  disableKeepAlive(): void {
    this.keepAlive = false
  }

  writeInformational(header: ResponseHeader): void {
    if (this.closed || this.responseState !== UNWRITTEN || this.request.version === 'HTTP/1.0') return
    if (header.status === 100) {
      if (this.continued) return
      this.continued = true
    }
    const text = `${statusLine(header.status, header.reason)}${unframedFieldsText(header, false)}\r\n`
    this.connection.socket.write(text, 'latin1')
  }

  writeHead(header: ResponseHeader, contentLength: number): void {
    if (this.closed) return
    if (this.responseState !== UNWRITTEN) throw new Error('The response head was already written')
    const status = header.status
    this.responseStatus = status
    if (status === 101) {
      this.writeSwitching(header)
      return
    }
    const bodyless = this.request.method === 'HEAD' || bodylessStatus(status)
    const state = this.framingOf(contentLength, bodyless)
    if (!this.becomeResponse(state)) return
    this.responseRemaining = bodyless || contentLength < 0 ? 0 : contentLength
    this.keepAlive = this.mayKeepAlive()

    let text = responseHeadText(header, contentLength, bodyless, state === CHUNKED)
    if (!this.keepAlive) text += 'Connection: close\r\n'
    else if (this.request.version === 'HTTP/1.0') text += 'Connection: keep-alive\r\n'
    this.text += `${text}\r\n`
  }

  /** How the body is told apart (RFC 9112 §6). */
  private framingOf(contentLength: number, bodyless: boolean): ResponseState {
    if (bodyless) return BODYLESS
    if (contentLength >= 0) return LENGTH
    return this.request.version === 'HTTP/1.0' ? UNTIL_END : CHUNKED
  }

  /** Whether the connection can carry another request after this response (RFC 9112 §9.3). */
  private mayKeepAlive(): boolean {
    const { owner, requestCount } = this.connection
    return (
      this.keepAlive &&
      this.clientKeepAlive &&
      this.responseState !== UNTIL_END &&
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

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    let size = end - start
    if (!this.takesBody(size)) return WRITE_DONE
    const chunked = this.responseState === CHUNKED
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
    if (this.responseState === TUNNEL) {
      this.endTunnelWrites()
      return
    }
    const problem = this.endProblem()
    if (problem !== null) {
      // The client must see that a body is short: nothing but the end of the connection says so.
      this.flushText()
      this.destroy(problem)
      return
    }
    if (this.responseState === CHUNKED) this.text += `0\r\n${this.trailersText(trailers)}\r\n`
    this.flushText()
    if (this.becomeResponse(COMPLETE)) this.ended()
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

  protected flushText(): WriteResult {
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
}
