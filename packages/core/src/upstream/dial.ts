import { appendFile } from 'node:fs'
import net, { isIP, type NetConnectOpts, type OnReadOpts } from 'node:net'
import { Duplex } from 'node:stream'
import tls, { type ConnectionOptions, type SecureContext } from 'node:tls'
import { fromSystemError, isProxyError, ProxyError, peerError } from '@cirque/error'
import { NEED_MORE, ResponseHeadParser } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { type Address, parseAddress } from '../address.ts'
import { writeProxyHeader } from '../proxy-protocol/write-header.ts'
import { completeHandshake } from '../tls/handshake-complete.ts'
import type { TlsSessionCache } from '../tls/session-cache.ts'
import { verifyName } from '../tls/verify-name.ts'
import type { DnsCache } from './dns-cache.ts'
import type { HttpPeer } from './peer.ts'

/** What dialling needs from the connector. */
export interface DialContext {
  readonly dns: DnsCache
  readonly bindToIpv4: readonly string[]
  readonly bindToIpv6: readonly string[]
  /** Where TLS secrets are appended for debugging, or undefined. */
  readonly keylogFile: string | undefined
  readonly tlsSessions: TlsSessionCache
  secureContext(peer: HttpPeer): SecureContext
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

/** Longest answer of a next-hop proxy to CONNECT, in bytes. */
const PROXY_HEAD_BYTES_MAX = 16_384

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
    if (address.kind === 'tcp' && this.bindLists(address.host)) {
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

  /** True when the source address depends on the family of a name that is not resolved yet. */
  private bindLists(host: string): boolean {
    const { bindToIpv4, bindToIpv6 } = this.context
    return (
      this.peer.options.localAddress === undefined &&
      bindToIpv4.length + bindToIpv6.length > 0 &&
      isIP(host) === 0
    )
  }

  private open(address: Address, resolved: string | undefined): void {
    const secure = this.peer.options.tls
    try {
      const options = this.socketOptions(address, resolved)
      if (secure && this.peer.options.sendProxyProtocol !== undefined) {
        this.openBeforeTls(options)
        return
      }
      const socket = secure
        ? tls.connect({ ...options, ...this.tlsOptions() } as ConnectionOptions)
        : net.connect(options)
      this.watch(socket)
      if (!secure) {
        socket.once('connect', () => {
          this.sendProxyHeader(socket)
          this.succeed(true)
        })
        return
      }
      socket.once('connect', () => this.connectTimer.arm(this.peer.options.connectTimeoutMs))
      socket.once('secureConnect', () => this.succeedSecure(socket as tls.TLSSocket, true))
    } catch (error) {
      // A refused option (an unknown curve, a bad key): ours or the user's, never the peer's.
      this.failSoon(
        new ProxyError('CONNECT_ERROR', 'internal', `Cannot connect to ${this.peer}`, { cause: error }),
      )
    }
  }

  /** TCP first, for something goes before TLS. */
  private openBeforeTls(options: NetConnectOpts): void {
    const { onread: _onread, ...plain } = options
    const socket = net.connect(plain as NetConnectOpts)
    this.watch(socket)
    socket.once('connect', () => {
      this.connectTimer.arm(this.peer.options.connectTimeoutMs)
      this.startTls(socket)
    })
  }

  /** The PROXY protocol header, if the peer wants one: the first bytes that it sees. */
  private sendProxyHeader(transport: Duplex): void {
    const { sendProxyProtocol } = this.peer.options
    if (sendProxyProtocol !== undefined) transport.write(writeProxyHeader(sendProxyProtocol))
  }

  private socketOptions(address: Address, resolved: string | undefined): NetConnectOpts {
    const { tcpKeepAliveMs, localAddress } = this.peer.options
    const onread = this.target.onReadOptions()
    const reading = onread === undefined ? {} : { onread }
    if (address.kind === 'unix') return { path: address.path, allowHalfOpen: true, ...reading }
    const host = resolved ?? address.host
    const from = localAddress ?? this.pickLocalAddress(host)
    return {
      host,
      port: address.port,
      lookup: this.context.dns.lookupFunction,
      allowHalfOpen: true,
      noDelay: true,
      ...reading,
      ...(from === undefined ? {} : { localAddress: from }),
      ...(tcpKeepAliveMs > 0 ? { keepAlive: true, keepAliveInitialDelay: tcpKeepAliveMs } : {}),
    }
  }

  private pickLocalAddress(host: string): string | undefined {
    const list = isIP(host) === 6 ? this.context.bindToIpv6 : this.context.bindToIpv4
    return list.length === 0 || isIP(host) === 0 ? undefined : list[Math.floor(Math.random() * list.length)]
  }

  private tlsOptions(): ConnectionOptions {
    const { peer } = this
    const { verifyCertificate, verifyHostname, alternativeName } = peer.options
    const name = peer.serverName
    const session = this.context.tlsSessions.get(peer.reuseKey)
    return {
      secureContext: this.context.secureContext(peer),
      servername: isIP(name) === 0 ? name : '',
      ALPNProtocols: [...this.target.alpnProtocols],
      rejectUnauthorized: verifyCertificate,
      checkServerIdentity: (host, certificate) => {
        if (!verifyHostname) return undefined
        const expected =
          alternativeName ?? (name === '' && peer.address?.kind === 'tcp' ? peer.address.host : name)
        return verifyName(expected === '' ? host : expected, certificate)
      },
      ...(session === undefined ? {} : { session }),
    }
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
    const options: NetConnectOpts =
      address.kind === 'unix'
        ? { path: address.path, allowHalfOpen: true }
        : {
            host: address.host,
            port: address.port,
            lookup: this.context.dns.lookupFunction,
            allowHalfOpen: true,
            noDelay: true,
          }
    const socket = net.connect(options)
    this.watch(socket)
    socket.once('connect', () => {
      let text = `CONNECT ${target.text} HTTP/1.1\r\nHost: ${target.text}\r\n`
      for (const [name, value] of Object.entries(this.peer.options.proxy?.headers ?? {}))
        text += `${name}: ${value}\r\n`
      socket.write(`${text}\r\n`, 'latin1')
      this.readProxyAnswer(socket)
    })
  }

  private readProxyAnswer(socket: net.Socket): void {
    const parser = new ResponseHeadParser({ headBytesMax: PROXY_HEAD_BYTES_MAX })
    const onData = (chunk: Buffer) => {
      let at = 0
      let after = parser.execute(chunk, at, chunk.length)
      // Informational answers may come first (RFC 9110 §15.2).
      while (after >= 0 && (parser.header?.status ?? 200) < 200) {
        parser.takeHeader()
        at = after
        after = at < chunk.length ? parser.execute(chunk, at, chunk.length) : NEED_MORE
      }
      if (after === NEED_MORE) return
      socket.off('data', onData)
      socket.pause()
      const status = after >= 0 ? (parser.header?.status ?? 0) : 0
      if (status < 200 || status > 299 || parser.chunked) {
        const why =
          after < 0 ? 'a malformed answer' : parser.chunked ? 'a body in its answer' : `status ${status}`
        this.fail(peerError('CONNECT_PROXY_FAILED', 'upstream', `The proxy of ${this.peer} gave ${why}`))
      } else if (after < chunk.length && this.target.hearsEarlyBytes !== true) {
        this.fail(
          peerError(
            'CONNECT_PROXY_FAILED',
            'upstream',
            `The proxy of ${this.peer} sent bytes before any were asked for`,
          ),
        )
      } else if (this.peer.options.tls) this.startTls(socket)
      else {
        if (after < chunk.length) socket.unshift(chunk.subarray(after))
        this.sendProxyHeader(socket)
        this.succeed(false)
      }
    }
    socket.on('data', onData)
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

/** How OpenSSL names an answer that is no TLS record: mostly a peer that speaks cleartext. */
const ANSWERS_OF_NO_TLS: ReadonlySet<string> = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
])

function connectError(cause: Error, peer: HttpPeer): ProxyError {
  const error = fromSystemError(cause, 'upstream', `Cannot connect to ${peer}`)
  if (ANSWERS_OF_NO_TLS.has((cause as NodeJS.ErrnoException).code ?? '')) {
    const act = `Cannot connect to ${peer}: the peer does not seem to speak TLS`
    return peerError('TLS_HANDSHAKE_FAILED', 'upstream', act, { cause, retry: 'allowed' })
  }
  // A reset before the connection stood is a failed connect, not a lost exchange: nothing was sent.
  if (error.code === 'CONNECTION_CLOSED' || error.code === 'UNKNOWN_ERROR') {
    return peerError('CONNECT_ERROR', 'upstream', `Cannot connect to ${peer}`, { cause, retry: 'allowed' })
  }
  if (error.source === 'upstream') error.retry = 'allowed'
  return error
}
