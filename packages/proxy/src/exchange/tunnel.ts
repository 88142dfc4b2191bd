import {
  type ClientSession,
  type ServerSession,
  WRITE_DONE,
  WRITE_PAUSE,
  type WriteResult,
} from '@cirque/core'
import { type ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'

/** The exchange, as its tunnel sees it. */
export interface TunnelOwner {
  readonly downstream: ServerSession
  readonly upstream: ClientSession | null
  /** Both sides have said their ends, or one of them is gone. The owner releases them. */
  tunnelEnded(error: ProxyError | undefined): void
}

/** Bytes that pass both ways since a 101 did: made for upgraded connections only. */
export class Tunnel implements TimerOwner {
  readonly #owner: TunnelOwner
  readonly #idleTimeoutMs: number
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  /** Bytes that passed since the timer was armed, either way. */
  #bytes = 0

  /** @param idleTimeoutMs - How long it may be silent in both directions; 0 for no limit. */
  constructor(owner: TunnelOwner, idleTimeoutMs: number) {
    this.#owner = owner
    this.#idleTimeoutMs = idleTimeoutMs
    if (idleTimeoutMs > 0) this.#timer.arm(idleTimeoutMs)
  }

  /** Nothing passes any more. */
  stop(): void {
    this.#timer.cancel()
  }

  /** Bytes of the client's. */
  fromClient(buffer: Buffer, start: number, end: number): WriteResult {
    const { upstream, downstream } = this.#owner
    this.#bytes += end - start
    if (upstream === null) return WRITE_DONE
    const result = upstream.writeBody(buffer, start, end)
    if (result >= WRITE_PAUSE) downstream.pauseRequestBody()
    upstream.flush()
    return result
  }

  /** So many bytes of the upstream's, which the owner passes on. */
  fromUpstream(bytes: number): void {
    this.#bytes += bytes
  }

  /** The client has said its end. */
  clientEnded(): void {
    this.#owner.upstream?.endRequest(null)
    this.#endIfDone()
  }

  /** The upstream has said its end. */
  upstreamEnded(): void {
    this.#owner.downstream.endResponse(null)
    this.#endIfDone()
  }

  #endIfDone(): void {
    const { upstream, downstream } = this.#owner
    if (!downstream.requestEnded || !downstream.responseEnded) return
    // Both ends are said; what is still queued for the upstream goes out, and then its socket closes by itself.
    if (upstream !== null) upstream.handler = null
    this.#owner.tunnelEnded(undefined)
  }

  onTimer(): void {
    if (this.#bytes > 0) {
      this.#bytes = 0
      this.#timer.arm(this.#idleTimeoutMs)
      return
    }
    const error = peerError('READ_TIMEOUT', 'upstream', 'The tunnel was silent for too long')
    this.#owner.downstream.destroy(error)
    this.#owner.tunnelEnded(error)
  }
}
