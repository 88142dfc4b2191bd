import {
  type ClientSession,
  type ClientSessionHandler,
  type HttpModules,
  type HttpPeer,
  type ServerSession,
  type ServerSessionHandler,
  WRITE_DONE,
  type WriteResult,
} from '@cirque/core'
import { ProxyError, peerError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import { CoarseTimer } from '@cirque/timeout'
import { ResponseFlow } from '../flow/response-flow.ts'
import type { ResponseFlowOwner } from '../flow/response-phases.ts'
import { answerAtOnce, hookError, judgedError } from '../hooks/hook-answers.ts'
import type { Attempt } from '../record.ts'
import { affordsRetry, mayRetry, nothingSent } from '../retry/retry-rules.ts'
import { type AttemptPhasesOwner, choosePeer, judgeConnectError, useConnection } from './attempt-phases.ts'
import type { ExchangeHost } from './exchange-host.ts'
import { ExchangeLife } from './exchange-life.ts'
import { CHOOSING, CONNECTED, isBroken, LOST, PROXYING, REQUEST, TUNNEL, WRITTEN } from './exchange-states.ts'
import { type RequestPhasesOwner, runRequestPhases } from './request-phases.ts'
import { Tunnel, type TunnelOwner } from './tunnel.ts'

/**
 * One request on its way through the proxy, and the owner of both its sides: whatever happens, it ends both
 * and calls `logging` once.
 *
 * Its phases are functions that call each other in order; a hook that returns a promise suspends the chain,
 * anything else continues it in the same turn. Attempts start from the original request, so the second equals
 * the first. Each step moves its state; a move that does not exist ends it at once, asking nobody.
 */
export class ProxyExchange<Ctx>
  extends ExchangeLife<Ctx>
  implements
    ServerSessionHandler,
    ClientSessionHandler,
    RequestPhasesOwner<Ctx>,
    AttemptPhasesOwner<Ctx>,
    ResponseFlowOwner<Ctx>,
    TunnelOwner
{
  constructor(proxy: ExchangeHost<Ctx>, client: ServerSession) {
    super(proxy, client)
    this.downstream.handler = this
  }

  get upstreamModules(): HttpModules | null {
    return this.proxy.upstreamModules
  }

  start(): void {
    this.observers?.requestStart(this.session)
    if (this.state !== REQUEST) return
    // What happens in one go happens at one time: reading the clock costs as much as matching a head.
    this.clock = this.session.record.startedAt
    try {
      runRequestPhases(this)
    } finally {
      this.clock = 0
    }
  }

  // --- attempts ----------------------------------------------------------------------------------

  startAttempt(): void {
    const { session } = this
    if (this.downstream.responseStatus !== 0) {
      // A hook wrote a response and said nothing of it.
      this.endAnswered('requestFilter')
      return
    }
    if (!this.become(CHOOSING)) return
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
    choosePeer(this)
  }

  /** The present attempt is to go to `peer`. */
  usePeer(peer: HttpPeer): void {
    this.peer = peer
    ;(this.attempt as Attempt).peer = peer
  }

  onConnected(upstream: ClientSession): void {
    this.pending = null
    if (!this.become(CONNECTED)) {
      upstream.destroy()
      return
    }
    this.upstream = upstream
    upstream.handler = this
    const attempt = this.attempt as Attempt
    attempt.reused = upstream.reused
    attempt.connectedAt = this.now()
    this.clock = 0
    useConnection(this, upstream)
  }

  onConnectError(error: ProxyError): void {
    this.pending = null
    judgeConnectError(this, error)
  }

  observeRequest(request: RequestHeader): void {
    this.observers?.upstreamRequest(this.session, this.attempt as Attempt, request)
  }

  sendRequest(request: RequestHeader): void {
    if (this.downstream.responseStatus !== 0) {
      this.endAnswered('upstreamRequestFilter')
      return
    }
    if (!this.become(PROXYING)) return
    const upstream = this.upstream as ClientSession
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

  // --- from the client ---------------------------------------------------------------------------

  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    if (this.tunnel !== null) return this.tunnel.fromClient(buffer, start, end)
    if (this.request?.live === true) return this.request.data(buffer, start, end)
    return this.session.onRequestData(buffer, start, end)
  }

  onRequestEnd(trailers: string[] | null): void {
    if (this.tunnel !== null) this.tunnel.clientEnded()
    else if (this.request?.live === true) this.request.end(trailers)
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
      this.finish(this.state === TUNNEL && error.code === 'CONNECTION_CLOSED' ? undefined : error)
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
    this.tunnel?.fromUpstream(end - start)
    return this.response === null ? WRITE_DONE : this.response.data(buffer, start, end)
  }

  onResponseEnd(trailers: string[] | null): void {
    this.response?.end(trailers)
  }

  onResponseFlush(): void {
    this.downstream.flush()
  }

  onUpstreamDrain(): void {
    if (this.tunnel !== null) this.downstream.resumeRequestBody()
    else this.request?.drained()
  }

  onUpstreamError(error: ProxyError): void {
    const upstream = this.upstream
    this.upstream = null
    if (this.state === TUNNEL) {
      this.downstream.destroy(error)
      this.finish(error.code === 'CONNECTION_CLOSED' ? undefined : error)
      return
    }
    const { app, session, ctx } = this
    let judged = error
    if (app.errorWhileProxy !== undefined && !isBroken(error)) {
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
    if (!mayRetry(this, error, this.upstream) || !affordsRetry(this)) return false
    const upstream = this.upstream
    this.upstream = null
    this.settleAttempt(error, upstream, true)
    return true
  }

  tunnelStarted(): void {
    if (!this.become(TUNNEL)) return
    this.tunnel = new Tunnel(this, this.peer?.options.tunnelIdleTimeoutMs ?? 0)
    this.downstream.flush()
    // A hook that looked for a body has left the flow on, and the client's early bytes held.
    this.downstream.pauseRequestBody()
    this.downstream.resumeRequestBody()
  }

  tunnelEnded(error: ProxyError | undefined): void {
    // Without an error what is still queued goes out, and then its socket closes by itself.
    if (error === undefined) this.upstream = null
    this.finish(error)
  }

  responseComplete(trailers: string[] | null): void {
    const { downstream, upstream } = this
    if (this.tunnel !== null) {
      this.tunnel.upstreamEnded()
      return
    }
    if (downstream.closed) {
      this.fail(
        new ProxyError('FILTER_FAILED', 'internal', 'A hook ended the response while another is proxied'),
      )
      return
    }
    if (!this.become(WRITTEN)) return
    // First the pool, then the client: a pipelined request finds the connection already idle.
    this.upstream = null
    this.request?.stop()
    if (upstream !== null) this.proxy.connector.release(upstream)
    this.finishWritten(this.endDownstream(trailers))
  }

  // --- failures ----------------------------------------------------------------------------------

  hookFailed(thrown: unknown, phase: string): void {
    if (this.ended) return
    const error = hookError(thrown, phase)
    if (phase === 'failToProxy') this.answerFailure(error, 500, false)
    else if (this.attempt !== null) this.attemptFailed(error)
    else this.fail(error)
  }

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
      granted || (mayRetry(this, error, upstream) && (nothingSent(upstream) || affordsRetry(this)))
    this.response?.stop()
    this.response = null
    this.request?.pause()
    upstream?.destroy()
    if (!this.become(LOST)) return
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
      this.retryTimer ??= new CoarseTimer(this)
      this.retryTimer.arm(delay)
    }
  }

  /** The wait before another attempt is over. */
  onTimer(): void {
    if (!this.ended) this.startAttempt()
  }
}
