import {
  type ClientSession,
  type ClientSessionHandler,
  type ConnectHandler,
  type HttpModules,
  HttpPeer,
  ModuleSession,
  type ModuleSessionOwner,
  type PendingConnect,
  type ServerSession,
  type ServerSessionHandler,
  WRITE_DONE,
  type WriteResult,
} from '@cirque/core'
import { ProxyError, peerError, statusForError } from '@cirque/error'
import { isIdempotent, type RequestHeader, type ResponseHeader } from '@cirque/http'
import { CoarseTimer, type TimerOwner } from '@cirque/timeout'
import { callLogging, type EndedExchange, logFailure, logHookFailure, persistContext } from './account.ts'
import type { ConnectTunnels } from './connect-tunnels.ts'
import { FailedPeers } from './failed-peers.ts'
import { HookDeadline, type HookWaiter } from './hook-deadline.ts'
import { answerAtOnce, hookError, isPromise, isVerdict, judgedError, wrongAnswer } from './hooks.ts'
import type { HttpProxy } from './http-proxy.ts'
import type { ObserverSet } from './observers.ts'
import { PeerLease } from './peer-lease.ts'
import type { FailToProxy, OrNothing, ProxyHttp } from './proxy-http.ts'
import type { Attempt } from './record.ts'
import { RequestFlow } from './request-flow.ts'
import { ResponseFlow, type ResponseFlowOwner } from './response-flow.ts'
import { Session, type SessionOwner } from './session.ts'
import { buildUpstreamRequest, wantsUpgrade } from './upstream-request.ts'

const RETRY_TIMER = 0
const TUNNEL_TIMER = 1

/**
 * One request on its way through the proxy, and the owner of both its sides: whatever happens, it ends both
 * and calls `logging` once.
 *
 * The request's phases are methods that call each other in order; a hook that returns a promise suspends the
 * chain, anything else continues it in the same turn. Attempts start from the original request, so the
 * second equals the first.
 */
export class ProxyExchange<Ctx>
  implements
    ServerSessionHandler,
    ClientSessionHandler,
    ConnectHandler,
    ResponseFlowOwner<Ctx>,
    ModuleSessionOwner,
    EndedExchange<Ctx>,
    HookWaiter,
    SessionOwner,
    TimerOwner
{
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  upstream: ClientSession | null = null

  readonly proxy: HttpProxy<Ctx>
  /** Null while nobody watches. */
  private readonly observers: ObserverSet | null
  private readonly timed: boolean
  /** The same as `downstream` when the service has modules. */
  private readonly moduled: ModuleSession | null
  private pending: PendingConnect | null = null
  peer: HttpPeer | null = null
  private attempt: Attempt | null = null
  /** The same while it has not ended. */
  private openAttempt: Attempt | null = null
  private readonly request: RequestFlow<Ctx> | null
  private response: ResponseFlow<Ctx> | null = null
  /** Peers that could not be connected to for this request. */
  private failedPeers: FailedPeers | null = null
  /** What the present peer was chosen by, when that wants to know how it went. */
  private lease: PeerLease | null = null
  private failing = false
  private ended = false
  /** False once `newCtx` has failed: then no hook is called. */
  readonly hasCtx: boolean
  /** Grows whenever an attempt or the request is given up: what a hook of before answers is not heard any more. */
  private turn = 0
  /** The method that went upstream; a filter may have changed it. */
  private sentMethod = ''
  private upgrade = false
  private tunnel = false
  private tunnelBytes = 0
  private timer: CoarseTimer | null = null
  private deadline: HookDeadline | null = null
  /** Body bytes that had come when the present hook was given its time. */
  private bytesAtDeadline = 0
  /** The time, while the request starts and nobody's hook has taken any; else 0. */
  private clock = 0

  constructor(proxy: HttpProxy<Ctx>, client: ServerSession) {
    this.proxy = proxy
    this.observers = proxy.watching.current()
    this.timed = proxy.timed || (this.observers !== null && proxy.timedIfWatched)
    this.app = proxy.app
    this.moduled = proxy.modules === null ? null : new ModuleSession(client, proxy.modules, this)
    const downstream = this.moduled ?? client
    this.downstream = downstream
    this.session = new Session(downstream, proxy.serverName, this.timed, this)
    downstream.handler = this
    this.request = downstream.hasRequestBody ? new RequestFlow<Ctx>(this, proxy.retryBufferBytesMax) : null
    this.ctx = (this.app.newCtx === undefined ? undefined : this.makeCtx()) as Ctx
    this.hasCtx = !this.failing
  }

  get filterTimeoutMs(): number {
    return this.proxy.filterTimeoutMs
  }

  get upstreamModules(): HttpModules | null {
    return this.proxy.upstreamModules
  }

  private makeCtx(): Ctx | undefined {
    try {
      return answerAtOnce(this.app.newCtx?.(), 'newCtx')
    } catch (error) {
      this.failing = true
      queueMicrotask(() => this.answerFailure(hookError(error, 'newCtx'), 500, false))
      return undefined
    }
  }

  // --- the request's phases ----------------------------------------------------------------------

  start(): void {
    this.observers?.requestStart(this.session)
    if (this.failing) return
    // What happens in one go happens at one time: reading the clock costs as much as matching a head.
    this.clock = this.session.record.startedAt
    try {
      this.begin()
    } finally {
      this.clock = 0
    }
  }

  private begin(): void {
    const { app, session, ctx } = this
    this.proxy.budget?.recordRequest()
    const previous = this.proxy.takeConnectionContext(this.downstream)
    if (previous !== undefined && app.onConnectionReuse !== undefined) {
      try {
        answerAtOnce(app.onConnectionReuse(session, previous, ctx), 'onConnectionReuse')
      } catch (error) {
        this.fail(hookError(error, 'onConnectionReuse'))
        return
      }
    }
    if (app.earlyRequestFilter === undefined) this.passModules()
    else {
      this.invoke(
        'earlyRequestFilter',
        () => app.earlyRequestFilter?.(session, ctx),
        () => this.passModules(),
      )
    }
  }

  private passModules(): void {
    const { moduled } = this
    if (moduled === null) this.filterRequest()
    else {
      this.invoke(
        'requestHeaderFilter of a module',
        () => moduled.filterRequestHeader(),
        () => this.filterRequest(),
      )
    }
  }

  private filterRequest(): void {
    const { app, session, ctx } = this
    if (app.requestFilter === undefined) this.decideUpstream()
    else {
      this.invoke(
        'requestFilter',
        () => app.requestFilter?.(session, ctx),
        (answered) => {
          if (answered === true) this.endAnswered('requestFilter')
          else if (isVerdict(answered)) this.decideUpstream()
          else this.wrongAnswer('requestFilter', 'true, false or nothing', answered)
        },
      )
    }
  }

  private decideUpstream(): void {
    const { app, session, ctx } = this
    if (app.proxyUpstreamFilter === undefined) this.startAttempt()
    else {
      this.invoke(
        'proxyUpstreamFilter',
        () => app.proxyUpstreamFilter?.(session, ctx),
        (goOn) => {
          if (!isVerdict(goOn)) this.wrongAnswer('proxyUpstreamFilter', 'true, false or nothing', goOn)
          else if (goOn !== false) this.startAttempt()
          else if (this.downstream.responseStatus !== 0) this.endAnswered('proxyUpstreamFilter')
          else this.answerFailure(undefined, 502, true)
        },
      )
    }
  }

  private wrongAnswer(phase: string, wanted: string, given: unknown): void {
    this.hookFailed(wrongAnswer(phase, wanted, given), phase)
  }

  /** A hook has answered by itself. */
  private endAnswered(phase: string): void {
    const { downstream } = this
    if (downstream.responseStatus === 0 && !downstream.closed) {
      this.fail(
        new ProxyError(
          'FILTER_FAILED',
          'internal',
          `The hook ${phase} said that it answered, but wrote nothing`,
        ),
      )
      return
    }
    if (!downstream.responseEnded) downstream.endResponse(null)
    this.finishWritten(undefined)
  }

  // --- attempts ----------------------------------------------------------------------------------

  private startAttempt(): void {
    const { session } = this
    if (this.downstream.responseStatus !== 0) {
      // A hook wrote a response and said nothing of it.
      this.endAnswered('requestFilter')
      return
    }
    const attempt: Attempt = {
      peer: undefined,
      reused: false,
      status: 0,
      error: undefined,
      startedAt: this.now(),
      connectedAt: 0,
      respondedAt: 0,
      endedAt: 0,
    }
    this.attempt = attempt
    this.openAttempt = attempt
    session.record.attempts.push(attempt)
    this.observers?.attemptStart(session, attempt)
    this.choosePeer()
  }

  private choosePeer(): void {
    const { app, session, ctx } = this
    if (session.request.method === 'CONNECT') {
      this.connectTunnel()
      return
    }
    let peer: HttpPeer | Promise<HttpPeer>
    try {
      peer = app.upstreamPeer(session, ctx)
    } catch (error) {
      this.attemptFailed(hookError(error, 'upstreamPeer'))
      return
    }
    if (isPromise(peer)) this.wait(peer, 'upstreamPeer', (chosen) => this.connect(chosen))
    else this.connect(peer)
  }

  /** The client has chosen the peer: it gets a tunnel to there, if the list of the proxy names it. */
  private connectTunnel(): void {
    let peer: HttpPeer
    try {
      peer = (this.proxy.tunnels as ConnectTunnels).peerFor(this.session.request.target)
    } catch (error) {
      this.attemptFailed(hookError(error, 'connect'))
      return
    }
    this.peer = peer
    ;(this.attempt as Attempt).peer = peer
    this.pending = this.proxy.connector.connectTunnel(peer, this)
  }

  private connect(peer: HttpPeer): void {
    if (!(peer instanceof HttpPeer)) {
      const given =
        peer === undefined ? 'undefined; when nobody is there, give new HttpPeer(undefined)' : typeof peer
      this.fail(hookError(new TypeError(`upstreamPeer must give an HttpPeer, not ${given}`), 'upstreamPeer'))
      return
    }
    this.peer = peer
    ;(this.attempt as Attempt).peer = peer
    if (peer.origin !== undefined) this.lease = PeerLease.of(peer.origin)
    if (peer.address === undefined) {
      this.attemptFailed(peerError('NO_PEER', 'internal', 'No peer to send the request to'))
      return
    }
    if (this.failedPeers?.passesOver(peer) === true) {
      this.releaseLease(null)
      this.choosePeer()
      return
    }
    const { connector } = this.proxy
    this.upgrade = wantsUpgrade(this.downstream)
    const idle = connector.acquire(peer, this.upgrade)
    if (idle !== null) this.onConnected(idle)
    else this.pending = connector.connect(peer, this, this.upgrade)
  }

  onConnected(upstream: ClientSession): void {
    this.pending = null
    this.upstream = upstream
    upstream.handler = this
    const attempt = this.attempt as Attempt
    attempt.reused = upstream.reused
    attempt.connectedAt = this.now()
    this.clock = 0
    const { app, session, ctx } = this
    if (app.connectedToUpstream === undefined) this.prepareRequest()
    else {
      this.invoke(
        'connectedToUpstream',
        () => app.connectedToUpstream?.(session, this.peer as HttpPeer, upstream, ctx),
        () => this.prepareRequest(),
      )
    }
  }

  onConnectError(error: ProxyError): void {
    this.pending = null
    const { app, session, ctx } = this
    const peer = this.peer as HttpPeer
    this.failedPeers ??= new FailedPeers()
    this.failedPeers.add(peer)
    if (app.failToConnect === undefined) this.attemptFailed(error)
    else {
      this.invoke(
        'failToConnect',
        () => app.failToConnect?.(session, peer, error, ctx),
        (judged) => this.attemptFailed(judgedError(judged, error, 'failToConnect')),
      )
    }
  }

  private prepareRequest(): void {
    if (this.upstream === null) return // the connection died while a hook was waited for
    const { app, session, ctx } = this
    if (session.request.method === 'CONNECT') {
      // The peer is told nothing: the connection is all that was asked for.
      this.upgrade = true
      this.sendRequest(session.request)
      return
    }
    const request = buildUpstreamRequest(this.downstream, this.peer as HttpPeer, this.upgrade)
    try {
      this.proxy.forwarding?.apply(request, session)
    } catch (error) {
      this.fail(hookError(error, 'forwarding'))
      return
    }
    this.observers?.upstreamRequest(session, this.attempt as Attempt, request)
    if (app.upstreamRequestFilter === undefined) this.sendRequest(request)
    else {
      this.invoke(
        'upstreamRequestFilter',
        () => app.upstreamRequestFilter?.(session, request, ctx),
        () => this.sendRequest(request),
      )
    }
  }

  private sendRequest(request: RequestHeader): void {
    const { upstream } = this
    if (upstream === null) return // as above
    if (this.downstream.responseStatus !== 0) {
      this.endAnswered('upstreamRequestFilter')
      return
    }
    this.sentMethod = request.method
    this.response = new ResponseFlow<Ctx>(this)
    if (this.request !== null) {
      upstream.sendHead(request, this.request.contentLength, false)
      this.request.startAttempt(upstream)
      return
    }
    upstream.sendHead(request, 0, this.upgrade && (request.method === 'CONNECT' || request.has('upgrade')))
    upstream.endRequest(null)
  }

  /** Once the request is on its way there is no phase that may answer it: the upstream's response is to come. */
  onAnswered(): void {
    if (this.response === null || this.upstream === null || this.tunnel) return
    // The hook that did it comes to its end first: what it throws says more.
    queueMicrotask(() => {
      this.fail(
        new ProxyError('FILTER_FAILED', 'internal', 'A hook wrote a response while another is proxied'),
      )
    })
  }

  // --- from the client ---------------------------------------------------------------------------

  onRequestData(buffer: Buffer, start: number, end: number): void {
    if (this.tunnel) {
      this.tunnelBytes += end - start
      const { upstream } = this
      if (upstream === null) return
      if (upstream.writeBody(buffer, start, end) === 2) this.downstream.pauseRequestBody()
      upstream.flush()
    } else if (this.request?.live === true) this.request.data(buffer, start, end)
    else this.session.onRequestData(buffer, start, end)
  }

  onRequestEnd(trailers: string[] | null): void {
    if (this.tunnel) {
      this.upstream?.endRequest(null)
      this.endTunnelIfDone()
    } else if (this.request?.live === true) this.request.end(trailers)
    else this.session.onRequestEnd(trailers)
  }

  onDownstreamDrain(): void {
    if (this.response !== null && this.upstream !== null) this.response.drained()
    else this.session.onDownstreamDrain()
  }

  onDownstreamAbort(error: ProxyError): void {
    if (this.ended) return
    this.session.onDownstreamAbort(error)
    if (this.downstream.closed) {
      // The tunnel's clients just go: that is how tunnels end.
      this.finish(this.tunnel && error.code === 'CONNECTION_CLOSED' ? undefined : error)
    } else this.fail(error)
  }

  // --- from the upstream -------------------------------------------------------------------------

  onInformational(header: ResponseHeader): void {
    this.response?.head(header, 0)
  }

  onResponseHead(header: ResponseHeader, contentLength: number): void {
    const attempt = this.attempt as Attempt
    attempt.status = header.status
    this.lease?.responded()
    attempt.respondedAt = this.now()
    this.response?.head(header, contentLength)
  }

  onResponseData(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.tunnel) this.tunnelBytes += end - start
    return this.response === null ? WRITE_DONE : this.response.data(buffer, start, end)
  }

  onResponseEnd(trailers: string[] | null): void {
    this.response?.end(trailers)
  }

  onResponseFlush(): void {
    this.downstream.flush()
  }

  onUpstreamDrain(): void {
    if (this.tunnel) this.downstream.resumeRequestBody()
    else this.request?.drained()
  }

  onUpstreamError(error: ProxyError): void {
    const upstream = this.upstream
    this.upstream = null
    if (this.tunnel) {
      this.downstream.destroy(error)
      this.finish(error.code === 'CONNECTION_CLOSED' ? undefined : error)
      return
    }
    const { app, session, ctx } = this
    let judged = error
    if (app.errorWhileProxy !== undefined) {
      try {
        const reused = upstream?.reused === true
        const answer = app.errorWhileProxy(session, this.peer as HttpPeer, error, reused, ctx)
        judged = judgedError(answerAtOnce(answer, 'errorWhileProxy'), error, 'errorWhileProxy')
      } catch (thrown) {
        judged = hookError(thrown, 'errorWhileProxy')
      }
    }
    this.settleAttempt(judged, upstream)
  }

  // --- the response's way back -------------------------------------------------------------------

  retryOnStatus(status: number): boolean {
    if (!this.proxy.retryStatuses.has(status)) return false
    const error = peerError('HTTP_STATUS', 'upstream', `Upstream answered ${status}`, {
      status,
      retry: 'allowed',
    })
    // What cannot be tried again is no failure: the client gets the upstream's own response.
    if (!this.mayRetry(error, this.upstream) || !this.affordsRetry()) return false
    const upstream = this.upstream
    this.upstream = null
    this.settleAttempt(error, upstream, true)
    return true
  }

  tunnelStarted(): void {
    this.tunnel = true
    const ms = this.peer?.options.tunnelIdleTimeoutMs ?? 0
    if (ms > 0) {
      this.timer = new CoarseTimer(this, TUNNEL_TIMER)
      this.timer.arm(ms)
    }
    this.downstream.flush()
    // A hook that looked for a body has left the flow on, and the client's early bytes held.
    this.downstream.pauseRequestBody()
    this.downstream.resumeRequestBody()
  }

  responseComplete(trailers: string[] | null): void {
    const { downstream, upstream } = this
    if (this.tunnel) {
      downstream.endResponse(null)
      this.endTunnelIfDone()
      return
    }
    // First the pool, then the client: a pipelined request finds the connection already idle.
    this.upstream = null
    this.request?.stop()
    if (upstream !== null) this.proxy.connector.release(upstream)
    downstream.endResponse(trailers)
    this.finishWritten(undefined)
  }

  private endTunnelIfDone(): void {
    if (!this.downstream.requestEnded || !this.downstream.responseEnded) return
    // Both ends are said; what is still queued for the upstream goes out, and then its socket closes by itself.
    if (this.upstream !== null) this.upstream.handler = null
    this.upstream = null
    this.finish(undefined)
  }

  // --- failures ----------------------------------------------------------------------------------

  attemptFailed(error: ProxyError): void {
    const upstream = this.upstream
    this.upstream = null
    this.settleAttempt(error, upstream)
  }

  /** The attempt is lost: another one, or the end. */
  private settleAttempt(error: ProxyError, upstream: ClientSession | null, granted = false): void {
    const attempt = this.attempt
    if (attempt !== null) attempt.error = error
    this.endAttempt(this.now())
    this.forgetHooks()
    const retry =
      granted || (this.mayRetry(error, upstream) && (nothingSent(upstream) || this.affordsRetry()))
    this.response?.stop()
    this.response = null
    this.request?.pause()
    upstream?.destroy()
    if (!retry) {
      this.fail(error)
      return
    }
    this.proxy.logger.warn('Attempt failed, trying again', {
      attempt: this.session.record.attempts.length,
      peer: String(this.peer),
      error,
    })
    const delay = this.proxy.backoff(this.session.record.attempts.length)
    if (delay <= 0) this.startAttempt()
    else {
      this.timer = new CoarseTimer(this, RETRY_TIMER)
      this.timer.arm(delay)
    }
  }

  /** Whether sending the request once more is provably harmless, and wanted. */
  private mayRetry(error: ProxyError, upstream: ClientSession | null): boolean {
    if (error.retry === 'never' || this.ended || this.failing) return false
    if (this.downstream.responseStatus !== 0 || this.downstream.closed) return false
    if (this.session.record.attempts.length >= this.proxy.maxRetries) return false
    if (this.request !== null && !this.request.replayable) return false
    if (upstream === null || !upstream.requestSent)
      return error.retry === 'allowed' ? !this.isExhausted() : upstream !== null
    if (!isIdempotent(this.session.request.method) || !isIdempotent(this.sentMethod)) return false
    return error.retry === 'allowed' || (upstream.reused && !upstream.responseStarted)
  }

  /** True when the peer that cannot be connected to has been dialled as often as one request may. */
  private isExhausted(): boolean {
    return this.peer !== null && this.failedPeers?.isExhausted(this.peer) === true
  }

  private affordsRetry(): boolean {
    const { budget } = this.proxy
    // A connection from the pool that its peer closed meanwhile costs nobody anything.
    if (budget === undefined || (this.attempt?.reused === true && this.attempt.status === 0)) return true
    try {
      return budget.tryRetry()
    } catch (error) {
      this.proxy.logger.error('The retry budget failed', { error })
      return false
    }
  }

  /** The request has failed for good. */
  fail(error: ProxyError): void {
    if (this.ended) return
    this.forgetHooks()
    if (this.attempt !== null) this.attempt.error ??= error
    this.dropUpstream()
    const { downstream, app, session, ctx } = this
    if (downstream.closed || downstream.responseStatus !== 0) {
      downstream.destroy(error)
      this.finish(error)
    } else if (this.failing || app.failToProxy === undefined) {
      this.answerFailure(error, statusForError(error), false)
    } else {
      this.failing = true
      this.invoke(
        'failToProxy',
        () => app.failToProxy?.(session, error, ctx),
        (done: OrNothing<FailToProxy>) => {
          if (done !== undefined && (typeof done !== 'object' || done === null)) {
            this.wrongAnswer('failToProxy', 'an object with a status, or nothing', done)
            return
          }
          const given = done?.status
          if (
            given !== undefined &&
            given !== 0 &&
            !(Number.isInteger(given) && given >= 200 && given <= 599)
          ) {
            this.hookFailed(new RangeError(`Not a final status: ${String(given)}`), 'failToProxy')
          } else this.answerFailure(error, given ?? statusForError(error), done?.canReuseDownstream === true)
        },
      )
    }
  }

  private answerFailure(error: ProxyError | undefined, status: number, canReuse: boolean): void {
    if (this.ended) return
    this.dropUpstream()
    const { downstream, session } = this
    if (downstream.closed) {
      this.finish(error)
      return
    }
    if (downstream.responseStatus === 0) {
      if (status === 0) {
        downstream.destroy(error)
        this.finish(error)
        return
      }
      if (!canReuse || session.record.attempts.length > 0) downstream.disableKeepAlive()
      // An error may carry a 1xx, which is no answer.
      session.respondError(status < 200 ? 500 : status)
    } else if (!downstream.responseEnded) downstream.endResponse(null)
    this.finishWritten(error)
  }

  onModuleFailed(error: ProxyError): void {
    if (this.ended) return
    this.session.onDownstreamAbort(error)
    this.fail(error)
  }

  private dropUpstream(): void {
    this.pending?.cancel()
    this.pending = null
    this.response?.stop()
    this.request?.stop()
    const upstream = this.upstream
    this.upstream = null
    upstream?.destroy()
  }

  // --- the end -----------------------------------------------------------------------------------

  onTimer(tag: number): void {
    if (this.ended) return
    if (tag === RETRY_TIMER) {
      this.startAttempt()
      return
    }
    if (this.tunnelBytes > 0) {
      this.tunnelBytes = 0
      this.timer?.arm(this.peer?.options.tunnelIdleTimeoutMs ?? 1)
      return
    }
    const error = peerError('READ_TIMEOUT', 'upstream', 'The tunnel was silent for too long')
    this.downstream.destroy(error)
    this.finish(error)
  }

  /** Modules may still be at work on the response that was ended. */
  private finishWritten(error: ProxyError | undefined): void {
    if (this.moduled === null) this.finish(error)
    else this.moduled.whenResponseWritten(() => this.finish(error))
  }

  /** The one way out: releases everything, then accounts for the request. */
  private finish(error: ProxyError | undefined): void {
    if (this.ended) return
    this.ended = true
    this.dropUpstream()
    this.timer?.cancel()
    this.deadline?.stop()
    const endedAt = this.now()
    this.session.record.endedAt = endedAt
    this.proxy.exchangeEnded()
    if (error !== undefined) {
      if (this.attempt !== null) this.attempt.error ??= error
      logFailure(this, error)
    }
    this.endAttempt(endedAt)
    callLogging(this, error)
    this.observers?.requestEnd(this.session, error)
    if (!this.tunnel) persistContext(this)
  }

  private endAttempt(at: number): void {
    const attempt = this.openAttempt
    if (attempt === null) return
    this.openAttempt = null
    attempt.endedAt = at
    this.releaseLease(attempt)
    this.observers?.attemptEnd(this.session, attempt)
  }

  /** Tells whoever chose the peer how it went; without an attempt, that the peer was not used. */
  private releaseLease(attempt: Attempt | null): void {
    const { lease } = this
    if (lease === null) return
    this.lease = null
    try {
      if (attempt === null) lease.giveBack()
      else lease.release(attempt)
    } catch (thrown) {
      logHookFailure(this.proxy, thrown, 'release of the lease')
    }
  }

  /** The time, where somebody will look at it. */
  private now(): number {
    return this.timed ? this.clock || performance.now() : 0
  }

  // --- hooks -------------------------------------------------------------------------------------

  private invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void {
    const { turn } = this
    this.clock = 0
    let result: T | Promise<T>
    try {
      result = hook()
      if (isPromise(result)) {
        this.wait(result, phase, next)
        return
      }
    } catch (error) {
      this.hookFailed(error, phase)
      return
    }
    if (!this.ended && this.turn === turn) next(result)
  }

  private wait<T>(result: PromiseLike<T>, phase: string, next: (value: T) => void): void {
    const { turn } = this
    this.startDeadline(phase)
    Promise.resolve(result)
      .then(
        (value) => {
          if (this.ended || this.turn !== turn) return
          this.deadline?.stop()
          next(value)
        },
        (error: unknown) => {
          if (this.turn !== turn) return
          this.deadline?.stop()
          this.hookFailed(error, phase)
        },
      )
      .catch((error: unknown) => this.fail(hookError(error, phase)))
  }

  private startDeadline(phase: string): void {
    this.bytesAtDeadline = this.downstream.requestBodyBytes
    this.deadline ??= new HookDeadline(this.filterTimeoutMs, this)
    this.deadline.start(phase)
  }

  onHookTimeout(phase: string, error: ProxyError): void {
    const { downstream } = this
    // A hook that reads the body or answers by itself goes at the client's pace, for which there are other limits.
    const reads = downstream.requestBodyBytes !== this.bytesAtDeadline
    const answers = this.attempt === null && downstream.responseStatus !== 0 && !downstream.responseEnded
    if (reads || answers) this.startDeadline(phase)
    else {
      this.forgetHooks()
      this.hookFailed(error, phase)
    }
  }

  /** Whatever a hook that is waited for answers, it is not heard any more. */
  private forgetHooks(): void {
    this.turn++
    this.deadline?.stop()
  }

  private hookFailed(thrown: unknown, phase: string): void {
    if (this.ended) return
    const error = hookError(thrown, phase)
    if (phase === 'failToProxy') this.answerFailure(error, 500, false)
    else if (this.attempt !== null) this.attemptFailed(error)
    else this.fail(error)
  }
}

/** True when an attempt ended before anything was sent: trying elsewhere adds no load to an upstream. */
function nothingSent(upstream: ClientSession | null): boolean {
  return upstream === null || !upstream.requestSent
}
