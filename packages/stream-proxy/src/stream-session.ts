import type { Socket } from 'node:net'
import {
  type ConnectionDigest,
  type ConnectionInfo,
  clientAddressOf,
  connectionDigest,
  cutConnection,
  proxyHeaderFor,
  writeProxyHeader,
} from '@cirque/core'
import { fromSystemError, isProxyError, ProxyError, peerError } from '@cirque/error'
import { CoarseTimer, now, type TimerOwner } from '@cirque/timeout'
import { isPromise } from './check.ts'
import { Pump, type PumpOwner } from './pump.ts'
import { type DialHandler, StreamDial } from './stream-dial.ts'
import { StreamPeer } from './stream-peer.ts'
import type { SessionHost } from './tcp-proxy.ts'

const IDLE_TIMER = 0
const TOTAL_TIMER = 1
const FILTER_TIMER = 2

/** One client's connection and the upstream's that serves it, from accept to close. */
export class StreamSession<Ctx = undefined> implements TimerOwner, DialHandler, PumpOwner {
  readonly downstream: Socket
  /** The listener that the connection came from. */
  readonly listener: ConnectionInfo
  readonly ctx: Ctx
  /** The client's IP address, also behind a PROXY protocol header; undefined on a Unix socket. */
  readonly remoteAddress: string | undefined
  /** When the connection was handed over, in milliseconds since the epoch. */
  readonly startedAt: number = Date.now()
  /** The peer that is tried or connected; undefined before `upstreamPeer` has chosen. */
  peer: StreamPeer | undefined = undefined
  /** Addresses that were tried and did not connect, in order: pass over them when choosing anew. */
  readonly triedAddresses: string[] = []
  /** Where the proxy keeps it. @internal */
  place = -1

  readonly #host: SessionHost<Ctx>
  readonly #toUpstream: Pump
  readonly #toClient: Pump
  readonly #idleTimer: CoarseTimer
  readonly #totalTimer: CoarseTimer
  /** Made for a session of which a hook has to be waited for. */
  #filterTimer: CoarseTimer | null = null
  #upstream: Socket | null = null
  #dial: StreamDial | null = null
  #error: ProxyError | undefined = undefined
  #activeAt: number = now()
  #downstreamOpen = true
  #ended = false

  /** Made by the service for each connection. @internal */
  constructor(host: SessionHost<Ctx>, downstream: Socket, listener: ConnectionInfo, ctx: Ctx) {
    this.#host = host
    this.downstream = downstream
    this.listener = listener
    this.ctx = ctx
    this.remoteAddress = clientAddressOf(downstream) // now: a closed socket has forgotten it
    this.#toUpstream = new Pump(this)
    this.#toClient = new Pump(this)
    this.#idleTimer = new CoarseTimer(this, IDLE_TIMER)
    this.#totalTimer = new CoarseTimer(this, TOTAL_TIMER)
    downstream.on('error', (error: Error) => this.#lost(error, 'downstream'))
    downstream.once('close', (hadError: boolean) => {
      this.#downstreamOpen = false
      this.#closed(downstream, hadError, this.#toUpstream.ended)
    })
    if (host.options.totalTimeoutMs > 0) this.#totalTimer.arm(host.options.totalTimeoutMs)
  }

  /** Bytes that the client has sent so far. */
  get bytesFromClient(): number {
    return this.#toUpstream.bytes
  }

  /** Bytes that the upstream has sent so far. */
  get bytesFromUpstream(): number {
    return this.#toClient.bytes
  }

  /** True once the session is over or cut. */
  get closed(): boolean {
    return this.#ended || this.downstream.destroyed
  }

  /** Facts about the client's connection. Built anew at each call; a closed connection has no addresses. */
  digest(): ConnectionDigest {
    return connectionDigest(this.downstream, this.startedAt, 1)
  }

  /** Facts about the upstream's connection; undefined before there is one. */
  upstreamDigest(): ConnectionDigest | undefined {
    return this.#upstream === null ? undefined : connectionDigest(this.#upstream, this.startedAt, 1)
  }

  /** Cuts both sides at once, with a reset where there is one; `logging` gets the error. */
  destroy(error?: ProxyError): void {
    this.#error ??= error
    this.#dial?.cancel()
    cutConnection(this.downstream)
    if (this.#upstream !== null) cutConnection(this.#upstream)
  }

  // --- choosing and connecting -----------------------------------------------------------------

  /** Asks the filter, then connects. @internal */
  start(): void {
    const { app } = this.#host
    if (app.connectionFilter === undefined) {
      this.connect()
      return
    }
    this.#ask(
      () => app.connectionFilter?.(this, this.ctx),
      (accepted: unknown) => {
        if (accepted === true || accepted === undefined) this.connect()
        else if (accepted === false) this.destroy()
        else this.#hookFailed(new TypeError('connectionFilter() must give true, false or nothing'))
      },
    )
  }

  /** Asks for a peer and dials it. @internal */
  connect(): void {
    this.#ask(
      () => this.#host.app.upstreamPeer(this, this.ctx),
      (peer) => this.#dialTo(peer),
    )
  }

  /** Calls a hook of the user's, now or later, and goes on with what it gives unless the session is over. */
  #ask<T>(call: () => T | Promise<T>, use: (answer: T) => void): void {
    let answer: T | PromiseLike<T>
    try {
      answer = call()
      if (isPromise(answer)) answer = Promise.resolve(answer)
    } catch (error) {
      this.#hookFailed(error)
      return
    }
    if (!(answer instanceof Promise)) {
      use(answer as T)
      return
    }
    this.#waitForHook()
    answer.then(
      (value) => {
        this.#filterTimer?.cancel()
        if (!this.closed) use(value)
      },
      (error: unknown) => {
        this.#filterTimer?.cancel()
        this.#hookFailed(error)
      },
    )
  }

  #waitForHook(): void {
    const { filterTimeoutMs } = this.#host.options
    if (filterTimeoutMs === 0 || this.closed) return
    this.#filterTimer ??= new CoarseTimer(this, FILTER_TIMER)
    this.#filterTimer.arm(filterTimeoutMs)
  }

  #hookFailed(cause: unknown): void {
    if (isProxyError(cause)) {
      this.destroy(cause)
      return
    }
    this.#host.hookFailed(cause)
    this.destroy(new ProxyError('FILTER_FAILED', 'internal', 'A hook of the stream proxy failed', { cause }))
  }

  #dialTo(peer: StreamPeer): void {
    if (this.closed) return
    if (!(peer instanceof StreamPeer)) {
      this.#hookFailed(new TypeError('upstreamPeer() must give a StreamPeer'))
      return
    }
    this.peer = peer
    let header: Buffer | undefined
    try {
      header = this.#headerFor(peer)
    } catch (error) {
      this.#hookFailed(error) // TLVs that cannot be written
      return
    }
    this.#dial = new StreamDial(peer, this.#host.dns, header, this.#toClient.onReadOptions(), this)
    this.#dial.start()
  }

  #headerFor(peer: StreamPeer): Buffer | undefined {
    const { sendProxyProtocol, proxyTlvs = [] } = peer.options
    if (sendProxyProtocol === undefined) return undefined
    return writeProxyHeader(proxyHeaderFor(this.digest(), sendProxyProtocol, { tlvs: proxyTlvs }))
  }

  /** Calls a hook that nobody waits for. False if it threw, which ends the session. */
  #tell(call: () => unknown): boolean {
    try {
      const result = call()
      if (isPromise(result)) Promise.resolve(result).catch((error: unknown) => this.#host.hookFailed(error))
      return true
    } catch (error) {
      this.#hookFailed(error)
      return false
    }
  }

  /** @internal */
  onDialFailed(error: ProxyError): void {
    this.#dial = null
    const { app, options } = this.#host
    const peer = this.peer as StreamPeer
    this.#host.connectFailed()
    if (peer.address !== undefined) this.triedAddresses.push(peer.address.text)
    if (!this.#tell(() => app.failToConnect?.(this, peer, error, this.ctx))) return
    if (error.retry === 'allowed' && this.triedAddresses.length < options.connectAttemptsMax) this.connect()
    else this.destroy(error)
  }

  /** @internal */
  onDialled(upstream: Socket, onRead: boolean): void {
    this.#dial = null
    this.#upstream = upstream
    upstream.on('error', (error: Error) => this.#lost(error, 'upstream'))
    upstream.once('close', (hadError: boolean) => this.#closed(upstream, hadError, this.#toClient.ended))
    const peer = this.peer as StreamPeer
    if (!this.#tell(() => this.#host.app.connectedToUpstream?.(this, peer, this.ctx))) return
    if (this.downstream.destroyed) {
      cutConnection(upstream)
      return
    }
    this.#activeAt = now()
    this.#armIdle()
    this.#toClient.start(upstream, this.downstream, onRead)
    this.#toUpstream.start(this.downstream, upstream, false)
  }

  // --- relaying --------------------------------------------------------------------------------

  /** @internal */
  onProgress(): void {
    this.#activeAt = now()
  }

  /** The service drains: silence counts by the shorter limit from now on. @internal */
  drain(): void {
    if (this.#upstream !== null) this.#armIdle()
  }

  /** @internal */
  onTimer(tag: number): void {
    const { totalTimeoutMs, filterTimeoutMs } = this.#host.options
    if (tag === FILTER_TIMER) {
      const act = `A hook of the stream proxy did not answer within ${filterTimeoutMs} ms`
      const error = new ProxyError('FILTER_TIMEOUT', 'internal', act)
      this.#host.hookFailed(error)
      this.destroy(error)
      return
    }
    if (tag === TOTAL_TIMER) {
      this.destroy(
        peerError('READ_TIMEOUT', 'downstream', `The connection was open for more than ${totalTimeoutMs} ms`),
      )
      return
    }
    const limit = this.#host.idleLimitMs
    if (now() - this.#activeAt < limit) this.#armIdle()
    else this.destroy(peerError('READ_TIMEOUT', 'downstream', `Nothing was sent either way for ${limit} ms`))
  }

  /** Progress only notes the time; the timer looks at it when it fires. */
  #armIdle(): void {
    const limit = this.#host.idleLimitMs
    if (limit > 0) this.#idleTimer.arm(Math.max(1, limit - (now() - this.#activeAt)))
  }

  #lost(cause: Error, source: 'downstream' | 'upstream'): void {
    this.#error ??= fromSystemError(cause, source, `Connection to the ${source} was lost`)
  }

  /** A side is closed. If it did not end in order, the other one must not take it for an end. */
  #closed(socket: Socket, hadError: boolean, ended: boolean): void {
    if (hadError || !ended || !socket.writableFinished) {
      this.#dial?.cancel()
      this.#dial = null
      cutConnection(this.downstream)
      if (this.#upstream !== null) cutConnection(this.#upstream)
    }
    if (!this.#downstreamOpen && (this.#upstream === null || this.#upstream.closed)) this.#end()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#idleTimer.cancel()
    this.#totalTimer.cancel()
    this.#filterTimer?.cancel()
    this.#toClient.stop()
    this.#toUpstream.stop()
    this.#host.sessionEnded(this, this.#error)
  }
}
