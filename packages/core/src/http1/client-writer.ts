import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { ProxyError, peerError } from '@cirque/error'
import { encodeChunkHead, latin1, type RequestHeader, TRAIT_EXPECT } from '@cirque/http'
import { CoarseTimer } from '@cirque/timeout'
import {
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../sessions/write-result.ts'
import { ClientLife, READ_TIMER, WRITE_TIMER } from './client-life.ts'
import { CLOSED, COMPLETE, HEAD, IDLE, TUNNEL } from './client-states.ts'
import { requestHeadText } from './head-writer.ts'
import { bytesTaken, TEXT_BODY_BYTES_MAX, trailersToWire } from './wire.ts'

export const NO_REQUEST = ''

/** The half of a connection to a peer that sends requests. */
export abstract class ClientWriter extends ClientLife {
  protected method: string = NO_REQUEST
  protected upgradeWanted = false
  protected drainWanted = false
  private requestChunked = false
  /** Bytes of the announced request body still to come; -1 when it is chunked. */
  private requestRemaining = 0
  /** True once a write has failed: what is still read was sent before. */
  private writeBroken = false
  /** True while the exchange's first write is the last one made. */
  private firstWrite = false
  private takenAtArm = 0
  /** The transport has done with the memory of a write when it returns; see `encryptsAtOnce`. */
  protected encrypts = false

  /** Answers for a peer that is asked nothing: the transport is a tunnel from now on. */
  protected abstract openTunnel(): void

  sendHead(header: RequestHeader, contentLength: number, upgrade: boolean): void {
    if (this.state === CLOSED) {
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

  writeBody(buffer: Buffer, start: number, end: number): WriteResult {
    const size = end - start
    // After the end of a request its connection may carry somebody else's.
    if (this.state === CLOSED || size === 0 || (this.requestEnded && this.state !== TUNNEL)) return WRITE_DONE
    if (this.writeBroken) return this.dropWrite()
    if (this.state === HEAD) this.readTimer.cancel()
    const chunked = this.requestChunked && this.state !== TUNNEL
    if (!chunked && this.state !== TUNNEL) {
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
    const waits = socket.writableLength > 0
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
    return this.afterWrite(waits || !this.encrypts)
  }

  endRequest(trailers: string[] | null): void {
    if (this.requestEnded || this.state === CLOSED) return
    this.requestEnded = true
    if (this.state === TUNNEL) {
      this.flushText()
      const { socket } = this
      // Ended from within a read, TLS in Node.js loses the records behind it: its shutdown reads them, and drops them.
      if (socket instanceof TLSSocket) setImmediate(() => socket.end())
      else socket?.end()
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
    if (this.text !== '' && this.state !== CLOSED) this.flushText()
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
    return this.afterWrite(false)
  }

  /** A stream that a `connect` function gave may throw where it should call back. */
  private writeFailed(error: unknown): WriteResult {
    const failure = error instanceof Error ? error : new Error('The stream failed to write', { cause: error })
    this.socket?.destroy(failure)
    return WRITE_DONE
  }

  /** The peer takes no more. What it sent before that can still be read: its answer, if it was an early one. */
  protected onWriteError(error: Error, refused: boolean): void {
    this.error ??= error
    this.writeBroken = true
    // The peer had closed the idle connection, and nothing of this request went over it.
    if (refused && this.firstWrite && this.reused) this.requestSent = false
    this.keepAlive = false
    this.writeTimer?.cancel()
    if (this.state === IDLE || this.state === COMPLETE) this.socket?.destroy(error)
    else if (this.state !== CLOSED && this.state !== TUNNEL && !this.paused)
      this.readTimer.arm(this.peer.options.readTimeoutMs)
  }

  /** Nobody takes these bytes. In a tunnel that is told, once all is delivered that came the other way. */
  private dropWrite(): WriteResult {
    if (this.state === TUNNEL && this.responseEnded) this.fail(this.closedWithin())
    return WRITE_DONE
  }

  /** @param retains - What still waits lies in the caller's memory. */
  private afterWrite(retains: boolean): WriteResult {
    const socket = this.socket as Duplex
    if (socket.writableLength === 0) return WRITE_DONE
    this.armWriteTimer()
    if (!socket.writableNeedDrain) return retains ? WRITE_RETAINED : WRITE_DONE
    this.drainWanted = true
    return retains ? WRITE_FULL : WRITE_PAUSE
  }

  private armWriteTimer(): void {
    this.writeTimer ??= new CoarseTimer(this, WRITE_TIMER)
    if (this.writeTimer.armed) return
    this.takenAtArm = bytesTaken(this.socket as Duplex)
    this.writeTimer.arm(this.peer.options.writeTimeoutMs)
  }

  protected onDrain(): void {
    this.writeTimer?.cancel()
    if (!this.drainWanted) return
    this.drainWanted = false
    this.handler?.onUpstreamDrain()
  }

  onTimer(tag: number): void {
    if (this.state === CLOSED || this.state === IDLE) return
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

/** Whether a request asks for a 100 before its body. */
function expects(header: RequestHeader): boolean {
  return header.lines === null ? header.has('expect') : (header.lines.traits & TRAIT_EXPECT) !== 0
}
