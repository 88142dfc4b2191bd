import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIP } from 'node:net'
import { type Address, type DnsCache, type PeerAddress, parseAddress } from '@cirque/core'
import { fromSystemError, isProxyError, ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import { isPromise } from './check.ts'

/** What a session needs of its service. @internal */
export interface UdpSessionHost {
  readonly dns: DnsCache
  readonly idleLimitMs: number
  readonly pendingMax: number
  readonly responsesPerDatagram: number
  /** Whether so many bytes more may wait for a peer; if so, they count until they are let go. */
  hold(bytes: number): boolean
  letGo(bytes: number): void
  /** Chooses the peer. */
  upstreamPeer(session: UdpSession): PeerAddress | Promise<PeerAddress>
  /** Sends to the client; false if it was dropped. */
  reply(session: UdpSession, message: Buffer): boolean
  /** Sends on a socket unless too much waits there; false if it was dropped. */
  send(socket: Socket, message: Buffer, port?: number, address?: string): boolean
  dropped(): void
  hookFailed(error: unknown): void
  sessionEnded(session: UdpSession, error: ProxyError | undefined): void
}

/** The datagrams of one client address and port, and the socket that carries them to the upstream. */
export class UdpSession implements TimerOwner {
  /** The client's IP address. */
  readonly remoteAddress: string
  readonly remotePort: number
  /** The listener's socket. @internal */
  readonly listener: Socket
  /** When the first datagram came, in milliseconds since the epoch. */
  readonly startedAt: number = Date.now()
  /** What `upstreamPeer` chose; undefined before that. */
  peer: PeerAddress = undefined
  datagramsFromClient = 0
  datagramsFromUpstream = 0
  bytesFromClient = 0
  bytesFromUpstream = 0

  readonly #host: UdpSessionHost
  readonly #timer: CoarseTimer = new CoarseTimer(this)
  #pending: Buffer[] | null = []
  #pendingBytes = 0
  #socket: Socket | null = null
  #activeAt: number = now()
  #ended = false

  /** Made by the service for each client. @internal */
  constructor(host: UdpSessionHost, listener: Socket, client: RemoteInfo) {
    this.#host = host
    this.listener = listener
    this.remoteAddress = client.address
    this.remotePort = client.port
  }

  /** True once the session is over. */
  get closed(): boolean {
    return this.#ended
  }

  /** @internal */
  start(): void {
    this.armIdle()
    let answer: PeerAddress | PromiseLike<PeerAddress>
    let waits: boolean
    try {
      answer = this.#host.upstreamPeer(this)
      waits = isPromise(answer)
    } catch (error) {
      this.#hookFailed(error)
      return
    }
    if (!waits) {
      this.#choose(answer as PeerAddress)
      return
    }
    Promise.resolve(answer).then(
      (peer) => this.#choose(peer),
      (error: unknown) => this.#hookFailed(error),
    )
  }

  /** A datagram of the client's. @internal */
  fromClient(message: Buffer): void {
    this.#activeAt = now()
    this.datagramsFromClient++
    this.bytesFromClient += message.length
    const socket = this.#socket
    if (this.#pending === null && socket !== null) this.#host.send(socket, message)
    else if (this.#pending !== null && this.#hasRoom(this.#pending, message)) this.#pending.push(message)
    else this.#host.dropped()
  }

  #hasRoom(pending: readonly Buffer[], message: Buffer): boolean {
    if (pending.length >= this.#host.pendingMax || !this.#host.hold(message.length)) return false
    this.#pendingBytes += message.length
    return true
  }

  /** What was held, which is no longer. */
  #takePending(): Buffer[] {
    const pending = this.#pending ?? []
    this.#pending = null
    this.#host.letGo(this.#pendingBytes)
    this.#pendingBytes = 0
    return pending
  }

  /** Looks anew at how long the session may be silent. @internal */
  armIdle(): void {
    this.#timer.arm(Math.max(1, this.#host.idleLimitMs - (now() - this.#activeAt)))
  }

  /** @internal */
  onTimer(): void {
    if (now() - this.#activeAt < this.#host.idleLimitMs) this.armIdle()
    else this.close()
  }

  /** Ends the session; the client's next datagram begins a new one. */
  close(error?: ProxyError): void {
    if (this.#ended) return
    this.#ended = true
    this.#timer.cancel()
    this.#takePending()
    this.#socket?.close()
    this.#socket = null
    this.#host.sessionEnded(this, error)
  }

  #choose(peer: PeerAddress): void {
    if (this.#ended) return
    this.peer = peer
    let address: Address | undefined
    try {
      address = addressOf(peer)
    } catch (error) {
      this.#hookFailed(error)
      return
    }
    if (address?.kind !== 'tcp') {
      this.close(new ProxyError('NO_PEER', 'internal', 'There is no peer with a host and port'))
      return
    }
    const { host, port } = address
    if (isIP(host) !== 0) {
      this.#open(host, port)
      return
    }
    this.#host.dns.resolve(host).then(
      ([first]) => {
        if (first !== undefined) this.#open(first.address, port)
        else this.close(peerError('DNS_FAILED', 'upstream', `Nothing is known of ${host}`))
      },
      (error: unknown) => this.close(fromSystemError(error, 'upstream', `Cannot resolve ${host}`)),
    )
  }

  #open(ip: string, port: number): void {
    if (this.#ended) return
    const lookup = (
      _host: string,
      _options: unknown,
      callback: (e: null, ip: string, family: number) => void,
    ) => callback(null, ip, isIP(ip))
    const socket = createSocket({ type: isIP(ip) === 6 ? 'udp6' : 'udp4', lookup: lookup as never })
    this.#socket = socket
    // Also what the peer's host says of a port where nobody listens (ICMP).
    socket.on('error', (error) =>
      this.close(fromSystemError(error, 'upstream', `Lost the peer ${ip} port ${port}`)),
    )
    socket.on('message', (message, from) => {
      // Whatever came between bind and connect may be anybody's.
      if (from.port === port && (from.address === ip || ip.includes('%'))) this.#fromUpstream(message)
      else this.#host.dropped()
    })
    socket.once('connect', () => {
      for (const message of this.#takePending()) this.#host.send(socket, message)
    })
    socket.connect(port, ip)
  }

  #fromUpstream(message: Buffer): void {
    if (this.#ended) return
    this.#activeAt = now()
    this.datagramsFromUpstream++
    this.bytesFromUpstream += message.length
    this.#host.reply(this, message)
    const { responsesPerDatagram } = this.#host
    if (responsesPerDatagram === 0) return
    if (this.datagramsFromUpstream >= this.datagramsFromClient * responsesPerDatagram) this.close()
  }

  #hookFailed(cause: unknown): void {
    if (isProxyError(cause)) {
      this.close(cause)
      return
    }
    this.#host.hookFailed(cause)
    this.close(new ProxyError('FILTER_FAILED', 'internal', 'A hook of the UDP proxy failed', { cause }))
  }
}

function addressOf(peer: PeerAddress): Address | undefined {
  if (peer === undefined) return undefined
  if (typeof peer === 'string') return parseAddress(peer)
  if (typeof peer === 'object' && peer !== null) {
    if ('kind' in peer) return peer
    return typeof peer.address === 'string' ? parseAddress(peer.address) : peer.address
  }
  throw new TypeError(`A peer's address must be a string, an Address or a backend, not ${String(peer)}`)
}
