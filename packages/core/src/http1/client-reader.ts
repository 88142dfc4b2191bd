import { ProxyError, peerError } from '@cirque/error'
import {
  bodylessStatus,
  ChunkedDecoder,
  type ChunkSink,
  HEAD_FAILED,
  type HeadMemo,
  NEED_MORE,
  type ResponseHeader,
  ResponseHeadParser,
} from '@cirque/http'
import { WRITE_PAUSE, WRITE_RETAINED } from '../sessions/write-result.ts'
import { handOnRun, sharedReadBuffer } from '../sockets/read-buffer.ts'
import { BODY, CLOSED, COMPLETE, HEAD, IDLE, TUNNEL } from './client-states.ts'
import { ClientWriter } from './client-writer.ts'
import { ReadMemory } from './read-memory.ts'
import { RUNS_PER_TURN_MAX, TEXT_BODY_BYTES_MAX } from './wire.ts'

const BODY_NONE = 0
const BODY_LENGTH = 1
const BODY_CHUNKED = 2
const BODY_UNTIL_CLOSE = 3

/** The half of a connection to a peer that reads responses. */
export abstract class ClientReader extends ClientWriter implements ChunkSink {
  /** What the peer's `Keep-Alive: timeout=` promised, in milliseconds, or -1. */
  keepAliveTimeoutMs = -1

  private parser: ResponseHeadParser | null = null
  /** What the field lines of the last head meant: the next head tends to have the same. */
  private memo: HeadMemo | null = null
  private decoder: ChunkedDecoder | null = null
  private bodyKind = BODY_NONE
  private bodyRemaining = 0
  /** Runs of body bytes that the present read brought. */
  private runCount = 0
  protected informationalCount = 0
  /** Bytes came that belong to no response: the connection carries no other. */
  protected surplus = false
  protected readonly memory: ReadMemory = new ReadMemory()

  /** Uses what was read; false to stop reading. */
  protected process(buffer: Buffer, start: number, end: number): boolean {
    switch (this.state) {
      case HEAD:
        return this.processHead(buffer, start, end)
      case BODY:
        this.readTimer.arm(this.peer.options.readTimeoutMs)
        this.runCount = 0
        this.processBody(buffer, start, end)
        if (this.state === BODY) {
          if (this.runCount > RUNS_PER_TURN_MAX) {
            this.memory.shrink()
            return this.yieldTurn()
          }
          // Not for one who takes less than that: what it cannot take waits in memory.
          if (end === buffer.length && !this.paused) this.memory.grow()
        }
        break
      case TUNNEL:
        this.deliver(buffer, start, end)
        break
      case IDLE:
        this.owner.onUnexpectedData(this)
        this.close()
        return false
      case COMPLETE:
        this.surplus = true
        return true
      case CLOSED:
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
      if (this.state !== CLOSED && !this.paused) this.socket?.resume()
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
    while (this.state === HEAD && at < end) {
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
    if (at < end && (this.state === BODY || this.state === TUNNEL)) {
      if (this.state === TUNNEL) this.deliver(buffer, at, end)
      else this.processBody(buffer, at, end)
    }
    if (this.state === BODY && !this.paused) this.readTimer.arm(this.peer.options.readTimeoutMs)
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
      return this.state === HEAD
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
      if (!this.become(BODY)) return false
      this.handler?.onResponseHead(header, 0)
      if (this.state === BODY) this.finish(null, more)
      return false
    }
    if (chunked) this.bodyKind = BODY_CHUNKED
    else if (contentLength >= 0) this.bodyKind = BODY_LENGTH
    else {
      this.bodyKind = BODY_UNTIL_CLOSE
      this.keepAlive = false
    }
    this.bodyRemaining = contentLength
    if (!this.become(BODY)) return false
    this.handler?.onResponseHead(header, chunked ? -1 : contentLength)
    if (this.bodyKind === BODY_LENGTH && contentLength === 0) {
      if (this.state === BODY) this.finish(null, more)
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
        if (this.state === BODY) this.finish(null, take < size)
      } else this.memory.useOwn()
      return
    }
    this.memory.useOwn()
    if (this.bodyKind === BODY_UNTIL_CLOSE) {
      this.deliver(buffer, start, end)
      return
    }
    this.decoder ??= new ChunkedDecoder()
    const decoder = this.decoder
    const after = decoder.execute(buffer, start, end, this)
    if (this.state !== BODY) return
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
    if (this.state === BODY) this.deliver(buffer, start, end)
  }

  private deliver(buffer: Buffer, start: number, end: number): void {
    const size = end - start
    const handler = this.handler
    if (size === 0 || handler === null) return
    this.responseBodyBytes += size
    const result = handOnRun(handler, buffer, start, end)
    if ((result & WRITE_RETAINED) !== 0) {
      // The handler may still refer to this memory: nothing is read into it any more.
      this.memory.giveAway(buffer)
      if (buffer === sharedReadBuffer && size <= TEXT_BODY_BYTES_MAX && result === WRITE_RETAINED) {
        // Better no response than one with another's bytes in it.
        this.fail(
          new ProxyError('INTERNAL_ERROR', 'internal', 'A run of body bytes was kept that had to be copied'),
        )
        return
      }
    }
    if (result >= WRITE_PAUSE && this.state !== CLOSED) {
      this.paused = true
      this.readTimer.cancel()
    }
  }

  /** The response is complete. The handler may release or reuse this connection within the call. */
  private finish(trailers: string[] | null, surplus: boolean): void {
    if (!this.become(COMPLETE)) return
    this.responseEnded = true
    this.surplus = surplus
    this.readTimer.cancel()
    this.memory.useShared()
    const handler = this.handler
    handler?.onResponseEnd(trailers)
  }

  protected onEnd(): void {
    this.ended = true
    if (this.state === BODY && this.bodyKind === BODY_UNTIL_CLOSE) {
      if (this.wasReset) this.fail(this.closedWithin())
      else this.finish(null, false)
      return
    }
    if (this.state === TUNNEL) {
      if (this.wasReset) {
        this.fail(this.closedWithin())
        return
      }
      this.responseEnded = true
      this.handler?.onResponseEnd(null)
      return
    }
    if (this.state === HEAD) this.fail(this.closedEarly())
    else if (this.state === BODY) {
      this.fail(
        peerError('PREMATURE_BODY_END', 'upstream', 'Upstream closed before its response was complete'),
      )
    } else this.close()
  }

  protected override close(): void {
    super.close()
    this.parser = null
  }

  /** From now on bytes pass both ways. */
  protected startTunnel(header: ResponseHeader): void {
    if (!this.become(TUNNEL)) return
    this.keepAlive = false
    this.requestEnded = false
    this.memory.useOwn()
    this.readTimer.cancel()
    this.handler?.onResponseHead(header, -1)
  }
}
