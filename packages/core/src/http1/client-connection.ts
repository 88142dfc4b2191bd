import { type OnReadOpts, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ResponseHeader } from '@cirque/http'
import type { HttpPeer } from '../upstream/peer.ts'
import type { Http1ClientOwner } from './client-life.ts'
import { ClientReader } from './client-reader.ts'
import { BODY, CLOSED, COMPLETE, HEAD, IDLE } from './client-states.ts'
import { NO_REQUEST } from './client-writer.ts'
import { encryptsAtOnce } from './wire.ts'
import { guardWrites } from './write-guard.ts'

const ALPN: readonly string[] = ['http/1.1']

/** One HTTP/1 connection to a peer; carries one exchange at a time and is its session meanwhile. */
export class Http1ClientConnection extends ClientReader {
  /** The pool's own mark on this connection. */
  poolEntry: unknown = null

  constructor(owner: Http1ClientOwner, peer: HttpPeer, raw: boolean = false) {
    super(owner, peer, raw)
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
    this.memory.open()
    return {
      buffer: () => this.memory.next,
      callback: (count: number, buffer: Uint8Array) => this.process(buffer as Buffer, 0, count),
    }
  }

  /** Takes over a connected transport. With `onRead` false its bytes come as `data` events. */
  attach(socket: Duplex, onRead: boolean): void {
    this.socket = socket
    this.encrypts = encryptsAtOnce(socket)
    this.establishedAt = Date.now()
    if (!onRead) {
      this.memory.disown()
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

  // --- the exchange ----------------------------------------------------------------------------

  /** Makes ready for a request of `peer`. */
  begin(peer: HttpPeer): void {
    if (!this.become(HEAD)) return
    this.peer = peer
    this.reused = this.requestCount > 0
    this.requestCount++
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

  resumeResponse(): void {
    if (!this.paused || this.state === CLOSED) return
    this.paused = false
    if (this.state === BODY) this.readTimer.arm(this.peer.options.readTimeoutMs)
    this.socket?.resume()
  }

  get reusable(): boolean {
    return (
      this.state === COMPLETE &&
      this.requestEnded &&
      this.keepAlive &&
      !this.surplus &&
      !this.ended &&
      this.text === '' &&
      (this.socket as Duplex).writableLength === 0
    )
  }

  /** The exchange is over and the connection goes back to the pool; false when it cannot, and is destroyed. */
  park(): boolean {
    if (!this.become(IDLE)) return false
    this.handler = null
    this.method = NO_REQUEST
    this.readTimer.cancel()
    this.writeTimer?.cancel()
    if (this.paused) {
      // The last chunk filled the client's queue: nothing would be heard of the peer's closing.
      this.paused = false
      this.socket?.resume()
    }
    return true
  }

  // --- the tunnel ------------------------------------------------------------------------------

  /** Answers for the peer, which was asked nothing. */
  protected openTunnel(): void {
    if (this.closed) return
    this.startTunnel(ResponseHeader.build(101))
    if (!this.closed && !this.paused) this.socket?.resume()
  }
}
