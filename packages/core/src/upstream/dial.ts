import { appendFile } from 'node:fs'
import net, { type NetConnectOpts, type OnReadOpts } from 'node:net'
import { Duplex } from 'node:stream'
import tls, { type ConnectionOptions } from 'node:tls'
import { isProxyError, ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { type Address, parseAddress } from '../address.ts'
import { writeProxyHeader } from '../proxy-protocol/write-header.ts'
import { completeHandshake } from '../tls/handshake-complete.ts'
import { connectError } from './connect-error.ts'
import { requestTunnel } from './next-hop.ts'
import type { HttpPeer } from './peer.ts'
import {
  dependsOnFamily,
  hopSocketOptions,
  socketOptions,
  type TransportContext,
  tlsOptions,
} from './transport-options.ts'

/** What dialling needs from the connector. */
export interface DialContext extends TransportContext {
  /** Where TLS secrets are appended for debugging, or undefined. */
  readonly keylogFile: string | undefined
}

/** What takes the transport over once it stands. */
export interface DialTarget {
  /** What to offer in a TLS handshake. */
  readonly alpnProtocols: readonly string[]
  /** Whether bytes that come right behind a next-hop proxy's answer are expected. */
  readonly hearsEarlyBytes?: boolean
  /** How to read from the socket, or undefined for `data` events. */
  onReadOptions(): OnReadOpts | undefined
  /** Takes over a connected transport. With `onRead` false its bytes come as `data` events. */
  attach(socket: Duplex, onRead: boolean): void
}

/** Who waits for a connection. Exactly one of the two is called, unless the dial is cancelled. */
export interface DialHandler {
  /** The target has taken the transport over. */
  onDialled(): void
  onDialFailed(error: ProxyError): void
}

const CONNECT_TIMER = 0
const TOTAL_TIMER = 1

/** One attempt to open a connection to a peer, from name to TLS. */
export class Dial implements TimerOwner {
  private readonly peer: HttpPeer
  private readonly context: DialContext
  private readonly target: DialTarget
  /** Null once told: an open connection must not hold on to the first request that used it. */
  private handler: DialHandler | null
  private readonly connectTimer: CoarseTimer
  private readonly totalTimer: CoarseTimer
  private socket: Duplex | null = null
  private abort: AbortController | null = null
  private settled = false

  constructor(peer: HttpPeer, context: DialContext, target: DialTarget, handler: DialHandler) {
    this.peer = peer
    this.context = context
    this.target = target
    this.handler = handler
    this.connectTimer = new CoarseTimer(this, CONNECT_TIMER)
    this.totalTimer = new CoarseTimer(this, TOTAL_TIMER)
  }

  start(): void {
    const { options, address } = this.peer
    this.totalTimer.arm(options.totalConnectTimeoutMs)
    this.connectTimer.arm(options.connectTimeoutMs)
    if (options.connect !== undefined) this.connectCustom(options.connect)
    else if (address === undefined) {
      this.failSoon(new ProxyError('NO_PEER', 'internal', 'The peer has no address to connect to'))
    } else if (options.proxy !== undefined) this.connectThroughProxy(parseAddress(options.proxy.address))
    else this.connectTo(address)
  }

  /** Gives up; the handler hears nothing. Without effect once it was called. */
  cancel(): void {
    if (this.settled) return
    this.settle()
    this.socket?.destroy()
  }

  onTimer(tag: number): void {
    const { connectTimeoutMs, totalConnectTimeoutMs } = this.peer.options
    const ms = tag === CONNECT_TIMER ? connectTimeoutMs : totalConnectTimeoutMs
    this.fail(
      peerError('CONNECT_TIMEOUT', 'upstream', `Cannot connect to ${this.peer} within ${ms} ms`, {
        retry: 'allowed',
      }),
    )
  }

  // --- the transport ---------------------------------------------------------------------------

  private connectTo(address: Address): void {
    if (address.kind === 'tcp' && dependsOnFamily(this.peer, address.host, this.context)) {
      this.context.dns.resolve(address.host).then(
        (addresses) => {
          const first = addresses[0]
          if (!this.settled && first !== undefined) this.open(address, first.address)
        },
        (error: unknown) => this.failWith(error),
      )
      return
    }
    this.open(address, undefined)
  }

  private open(address: Address, resolved: string | undefined): void {
    const { tls: secure, sendProxyProtocol } = this.peer.options
    try {
      const options = socketOptions(this.peer, address, resolved, this.context)
      if (secure && sendProxyProtocol !== undefined) this.openBeforeTls(options)
      else if (secure) this.openTls(options)
      else this.openPlain(options)
    } catch (error) {
      // A refused option (an unknown curve, a bad key): ours or the user's, never the peer's.
      this.failSoon(
        new ProxyError('CONNECT_ERROR', 'internal', `Cannot connect to ${this.peer}`, { cause: error }),
      )
    }
  }

  private openPlain(options: NetConnectOpts): void {
    const socket = net.connect(this.readingInto(options))
    this.watch(socket)
    socket.once('connect', () => {
      this.sendProxyHeader(socket)
      this.succeed(true)
    })
  }

  private openTls(options: NetConnectOpts): void {
    const socket = tls.connect({ ...this.readingInto(options), ...this.tlsOptions() } as ConnectionOptions)
    this.watch(socket)
    socket.once('connect', () => this.connectTimer.arm(this.peer.options.connectTimeoutMs))
    socket.once('secureConnect', () => this.succeedSecure(socket, true))
  }

  /** TCP first, for something goes before TLS. */
  private openBeforeTls(options: NetConnectOpts): void {
    const socket = net.connect(options)
    this.watch(socket)
    socket.once('connect', () => {
      this.connectTimer.arm(this.peer.options.connectTimeoutMs)
      this.startTls(socket)
    })
  }

  /** With reads that go into the target's memory, if it has any. */
  private readingInto(options: NetConnectOpts): NetConnectOpts {
    const onread = this.target.onReadOptions()
    return onread === undefined ? options : { ...options, onread }
  }

  private tlsOptions(): ConnectionOptions {
    return tlsOptions(this.peer, this.target.alpnProtocols, this.context)
  }

  /** The PROXY protocol header, if the peer wants one: the first bytes that it sees. */
  private sendProxyHeader(transport: Duplex): void {
    const { sendProxyProtocol } = this.peer.options
    if (sendProxyProtocol !== undefined) transport.write(writeProxyHeader(sendProxyProtocol))
  }

  private connectCustom(connect: NonNullable<HttpPeer['options']['connect']>): void {
    this.abort = new AbortController()
    let opening: Promise<Duplex>
    try {
      opening = Promise.resolve(connect(this.peer, this.abort.signal))
    } catch (error) {
      opening = Promise.reject(error)
    }
    opening.then(
      (stream) => {
        if (!(stream instanceof Duplex)) {
          this.fail(
            new ProxyError(
              'CONNECT_ERROR',
              'internal',
              `The connect function of ${this.peer} gave no Duplex stream`,
            ),
          )
          return
        }
        if (this.settled) {
          stream.on('error', () => {})
          stream.destroy()
          return
        }
        this.watch(stream)
        if (stream.destroyed || !stream.writable || stream.readableEnded) this.failWith(undefined)
        else if (this.peer.options.tls) this.startTls(stream)
        else {
          this.sendProxyHeader(stream)
          this.succeed(false)
        }
      },
      (error: unknown) => this.failWith(error),
    )
  }

  private startTls(transport: Duplex): void {
    try {
      this.sendProxyHeader(transport)
      const socket = tls.connect({ socket: transport as net.Socket, ...this.tlsOptions() })
      this.watch(socket)
      socket.once('secureConnect', () => this.succeedSecure(socket, false))
    } catch (error) {
      this.fail(
        new ProxyError('CONNECT_ERROR', 'internal', `Cannot start TLS with ${this.peer}`, { cause: error }),
      )
    }
  }

  // --- through a proxy -------------------------------------------------------------------------

  private connectThroughProxy(address: Address): void {
    const target = this.peer.address
    if (target?.kind !== 'tcp') {
      this.failSoon(
        new ProxyError(
          'CONNECT_PROXY_FAILED',
          'internal',
          `No CONNECT to ${this.peer}: it has no host and port`,
        ),
      )
      return
    }
    const socket = net.connect(hopSocketOptions(address, this.context))
    this.watch(socket)
    socket.once('connect', () => {
      const headers = this.peer.options.proxy?.headers ?? {}
      requestTunnel(socket, target.text, headers, (refusal, early) => {
        if (refusal === undefined) this.useTunnel(socket, early)
        else this.failAtProxy(`gave ${refusal}`)
      })
    })
  }

  private useTunnel(socket: net.Socket, early: Buffer): void {
    if (early.length > 0 && this.target.hearsEarlyBytes !== true) {
      this.failAtProxy('sent bytes before any were asked for')
    } else if (this.peer.options.tls) this.startTls(socket)
    else {
      if (early.length > 0) socket.unshift(early)
      this.sendProxyHeader(socket)
      this.succeed(false)
    }
  }

  private failAtProxy(what: string): void {
    this.fail(peerError('CONNECT_PROXY_FAILED', 'upstream', `The proxy of ${this.peer} ${what}`))
  }

  // --- the end ---------------------------------------------------------------------------------

  private watch(socket: Duplex): void {
    this.socket = socket
    socket.on('error', (error: unknown) => this.failWith(error))
    // Sockets that allow half-open ones do not close by themselves when the other end does.
    socket.once('end', () => this.failWith(undefined))
    socket.once('close', () => this.failWith(undefined))
    if (!(socket instanceof tls.TLSSocket)) return
    const { keylogFile, tlsSessions } = this.context
    tlsSessions.remember(this.peer.reuseKey, socket)
    if (keylogFile !== undefined) {
      socket.on('keylog', (line: Buffer) => appendFile(keylogFile, line, { mode: 0o600 }, () => {}))
    }
  }

  private succeedSecure(socket: tls.TLSSocket, onRead: boolean): void {
    const { onHandshakeComplete } = this.peer.options
    if (onHandshakeComplete !== undefined && !this.settled) {
      try {
        completeHandshake(onHandshakeComplete, socket)
      } catch (cause) {
        const message = `onHandshakeComplete of ${this.peer} failed`
        this.fail(new ProxyError('CONNECT_ERROR', 'internal', message, { cause }))
        return
      }
    }
    this.succeed(onRead)
  }

  private succeed(onRead: boolean): void {
    const socket = this.socket
    if (this.settled || socket === null) return
    const { handler } = this
    // The signal may have been given to the stream itself, which lives on.
    this.abort = null
    this.settle()
    this.target.attach(socket, onRead)
    handler?.onDialled()
  }

  private failWith(cause: unknown): void {
    if (isProxyError(cause)) this.fail(cause)
    else if (cause instanceof Error) this.fail(connectError(cause, this.peer))
    else {
      this.fail(
        peerError('CONNECT_ERROR', 'upstream', `Connection to ${this.peer} closed before it stood`, {
          retry: 'allowed',
          cause,
        }),
      )
    }
  }

  /** For failures that are known at once: the handler is never called within `start()`. */
  private failSoon(error: ProxyError): void {
    queueMicrotask(() => this.fail(error))
  }

  private fail(error: ProxyError): void {
    if (this.settled) return
    const { handler } = this
    this.settle()
    this.socket?.destroy()
    // Should it be the session that the peer did not like, the next attempt comes without.
    if (this.peer.options.tls) this.context.tlsSessions.delete(this.peer.reuseKey)
    handler?.onDialFailed(error)
  }

  private settle(): void {
    this.settled = true
    this.handler = null
    this.connectTimer.cancel()
    this.totalTimer.cancel()
    this.abort?.abort()
    this.abort = null
  }
}
