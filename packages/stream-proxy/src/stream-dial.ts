import { connect, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from 'node:net'
import { type ConnectionOptions, checkServerIdentity, connect as connectTls } from 'node:tls'
import type { DnsCache } from '@cirque/core'
import { fromSystemError, ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import type { StreamPeer } from './stream-peer.ts'

/** Who waits for a connection. Exactly one of the two is called, later, unless the dial is cancelled. */
export interface DialHandler {
  /** `onRead` tells whether reads go to what `onread` gave; else they are `data` events. */
  onDialled(socket: Socket, onRead: boolean): void
  onDialFailed(error: ProxyError): void
}

/** Not on Windows, where the kernel fills buffers while JavaScript runs: memory could not be shared. */
const CAN_SHARE = process.platform !== 'win32'

const CONNECT_TIMER = 0
const TOTAL_TIMER = 1

/** One attempt to open a connection to a peer: name, transport, PROXY protocol header, TLS. */
export class StreamDial implements TimerOwner {
  readonly #peer: StreamPeer
  readonly #dns: DnsCache
  readonly #header: Buffer | undefined
  readonly #onread: OnReadOpts
  readonly #handler: DialHandler
  readonly #connectTimer: CoarseTimer = new CoarseTimer(this, CONNECT_TIMER)
  readonly #totalTimer: CoarseTimer = new CoarseTimer(this, TOTAL_TIMER)
  #socket: Socket | undefined
  #settled = false

  /** @param header - Sent first, before TLS. */
  constructor(
    peer: StreamPeer,
    dns: DnsCache,
    header: Buffer | undefined,
    onread: OnReadOpts,
    handler: DialHandler,
  ) {
    this.#peer = peer
    this.#dns = dns
    this.#header = header
    this.#onread = onread
    this.#handler = handler
  }

  start(): void {
    const { options, address } = this.#peer
    this.#connectTimer.arm(options.connectTimeoutMs ?? 5_000)
    this.#totalTimer.arm(options.totalConnectTimeoutMs ?? 10_000)
    if (address === undefined) {
      const error = new ProxyError('NO_PEER', 'internal', 'The peer has no address to connect to')
      queueMicrotask(() => this.#fail(error))
      return
    }
    try {
      this.#open()
    } catch (error) {
      // An option that Node refuses, such as a bad key: ours or the user's, never the peer's.
      const failure = new ProxyError('CONNECT_ERROR', 'internal', `Cannot connect to ${this.#peer}`, {
        cause: error,
      })
      queueMicrotask(() => this.#fail(failure))
    }
  }

  /** Gives up; the handler hears nothing. */
  cancel(): void {
    this.#settle()
    this.#socket?.destroy()
  }

  onTimer(tag: number): void {
    const { connectTimeoutMs = 5_000, totalConnectTimeoutMs = 10_000 } = this.#peer.options
    const ms = tag === CONNECT_TIMER ? connectTimeoutMs : totalConnectTimeoutMs
    this.#fail(
      peerError('CONNECT_TIMEOUT', 'upstream', `Cannot connect to ${this.#peer} within ${ms} ms`, {
        retry: 'allowed',
      }),
    )
  }

  #open(): void {
    const isTls = this.#peer.options.tls === true
    const header = this.#header
    const onRead = CAN_SHARE && (!isTls || header === undefined)
    const options = this.#socketOptions(onRead)
    if (isTls && header === undefined) {
      const socket = connectTls({ ...options, ...this.#tlsOptions() } as ConnectionOptions)
      this.#watch(socket)
      socket.once('connect', () => this.#connectTimer.cancel())
      socket.once('secureConnect', () => this.#succeed(onRead))
      return
    }
    const socket = connect(options)
    this.#watch(socket)
    socket.once('connect', () => {
      if (header !== undefined) socket.write(header)
      if (isTls) this.#startTls(socket)
      else this.#succeed(onRead)
    })
  }

  #startTls(transport: Socket): void {
    this.#connectTimer.cancel()
    try {
      const socket = connectTls({ socket: transport, ...this.#tlsOptions() })
      socket.allowHalfOpen = true
      this.#watch(socket)
      socket.once('secureConnect', () => this.#succeed(false))
    } catch (error) {
      this.#fail(
        new ProxyError('CONNECT_ERROR', 'internal', `Cannot start TLS with ${this.#peer}`, { cause: error }),
      )
    }
  }

  #socketOptions(onRead: boolean): NetConnectOpts {
    const { address, options } = this.#peer
    const { localAddress, tcpKeepAliveMs = 0 } = options
    const common = { allowHalfOpen: true, ...(onRead ? { onread: this.#onread } : {}) }
    if (address?.kind === 'unix') return { path: address.path, ...common }
    return {
      host: address?.host ?? '',
      port: address?.port ?? 0,
      lookup: this.#dns.lookupFunction,
      noDelay: true,
      ...common,
      ...(localAddress === undefined ? {} : { localAddress }),
      ...(tcpKeepAliveMs > 0 ? { keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs } : {}),
    }
  }

  #tlsOptions(): ConnectionOptions {
    const peer = this.#peer
    const { verifyCertificate = true, alpnProtocols } = peer.options
    const name = peer.serverName
    const host = peer.address?.kind === 'tcp' ? peer.address.host : ''
    return {
      secureContext: peer.secureContext(),
      servername: isIP(name) === 0 ? name : '',
      rejectUnauthorized: verifyCertificate,
      checkServerIdentity: (_host, certificate) =>
        checkServerIdentity(name === '' ? host : name, certificate),
      ...(alpnProtocols === undefined ? {} : { ALPNProtocols: [...alpnProtocols] }),
    }
  }

  #watch(socket: Socket): void {
    this.#socket = socket
    socket.on('error', (error: Error) => this.#failWith(error))
    socket.once('close', () => this.#failWith(undefined))
  }

  #succeed(onRead: boolean): void {
    const socket = this.#socket
    if (this.#settled || socket === undefined) return
    this.#settle()
    this.#handler.onDialled(socket, onRead)
  }

  #failWith(cause: Error | undefined): void {
    if (this.#settled) return
    const act = `Cannot connect to ${this.#peer}`
    const error = fromSystemError(cause, 'upstream', act)
    // A reset before the connection stood is a failed connect: nothing of the client's was sent.
    const isOther = error.code === 'CONNECTION_CLOSED' || error.code === 'UNKNOWN_ERROR'
    const failure = isOther ? peerError('CONNECT_ERROR', 'upstream', act, { cause }) : error
    if (failure.source === 'upstream') failure.retry = 'allowed'
    this.#fail(failure)
  }

  #fail(error: ProxyError): void {
    if (this.#settled) return
    this.#settle()
    this.#socket?.destroy()
    this.#handler.onDialFailed(error)
  }

  #settle(): void {
    this.#settled = true
    this.#connectTimer.cancel()
    this.#totalTimer.cancel()
  }
}
