import {
  type ClientSession,
  type HttpPeer,
  ModuleSession,
  type ModuleSessionOwner,
  type PendingConnect,
  type ServerSession,
} from '@cirque/core'
import { ProxyError, statusForError } from '@cirque/error'
import type { CoarseTimer, TimerOwner } from '@cirque/timeout'
import { RequestFlow } from '../flow/request-flow.ts'
import type { ResponseFlow } from '../flow/response-flow.ts'
import { answerAtOnce, hookError, wrongAnswer } from '../hooks/hook-answers.ts'
import { HookCaller } from '../hooks/hook-caller.ts'
import type { ObserverSet } from '../observing/observers.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Attempt } from '../record.ts'
import type { FailedPeers } from '../retry/failed-peers.ts'
import type { RetryFacts } from '../retry/retry-rules.ts'
import { Session, type SessionOwner } from '../session.ts'
import { callLogging, type EndedExchange, logFailure, logHookFailure, persistContext } from './account.ts'
import type { ExchangeHost } from './exchange-host.ts'
import {
  ENDED,
  EXCHANGE_STATES,
  type ExchangeState,
  FAILING,
  isBroken,
  PROXYING,
  REQUEST,
  WRITTEN,
} from './exchange-states.ts'
import { askFailToProxy, type FailureAnswerOwner } from './failure-answer.ts'
import type { PeerLease } from './peer-lease.ts'
import type { Tunnel } from './tunnel.ts'

/**
 * The life of an exchange: what it holds, the state that it is in, how it fails, and the one way out of it. Who
 * extends it knows what happens in between.
 */
export abstract class ExchangeLife<Ctx>
  extends HookCaller
  implements
    ModuleSessionOwner,
    EndedExchange<Ctx>,
    SessionOwner,
    RetryFacts,
    FailureAnswerOwner<Ctx>,
    TimerOwner
{
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  readonly moduled: ModuleSession | null
  readonly proxy: ExchangeHost<Ctx>
  state: ExchangeState = REQUEST
  /** False once `newCtx` has failed: then no hook is called. */
  readonly hasCtx: boolean
  readonly request: RequestFlow<Ctx> | null

  /** Null while nobody watches. */
  protected readonly observers: ObserverSet | null
  private readonly timed: boolean

  // Of the present attempt:
  attempt: Attempt | null = null
  /** The same while it has not ended. */
  protected openAttempt: Attempt | null = null
  peer: HttpPeer | null = null
  /** What the peer was chosen by, when that wants to know how it went. */
  lease: PeerLease | null = null
  pending: PendingConnect | null = null
  upstream: ClientSession | null = null
  upgrade = false
  sentMethod = ''
  protected response: ResponseFlow<Ctx> | null = null

  failedPeers: FailedPeers | null = null
  protected tunnel: Tunnel | null = null
  protected retryTimer: CoarseTimer | null = null

  constructor(proxy: ExchangeHost<Ctx>, client: ServerSession) {
    super()
    this.proxy = proxy
    this.observers = proxy.watching.current()
    this.timed = proxy.timed || (this.observers !== null && proxy.timedIfWatched)
    this.app = proxy.app
    this.moduled =
      proxy.modules === null ? null : new ModuleSession(client, proxy.modules, this, proxy.filterTimeoutMs)
    const downstream = this.moduled ?? client
    this.downstream = downstream
    this.session = new Session(downstream, proxy.serverName, this.timed, this)
    this.request = downstream.hasRequestBody ? new RequestFlow<Ctx>(this, proxy.retryBufferBytesMax) : null
    this.ctx = (this.app.newCtx === undefined ? undefined : this.makeCtx()) as Ctx
    this.hasCtx = this.state === REQUEST
  }

  get filterTimeoutMs(): number {
    return this.proxy.filterTimeoutMs
  }

  get ended(): boolean {
    return this.state === ENDED
  }

  get answerable(): boolean {
    return this.attempt === null
  }

  private makeCtx(): Ctx | undefined {
    try {
      return answerAtOnce(this.app.newCtx?.(), 'newCtx')
    } catch (error) {
      this.become(FAILING)
      queueMicrotask(() => this.answerFailure(hookError(error, 'newCtx'), 500, false))
      return undefined
    }
  }

  /** The wait before another attempt is over. */
  abstract onTimer(): void

  /** Takes the state `next`; false when that cannot be, and the exchange is over. */
  become(next: ExchangeState): boolean {
    if (EXCHANGE_STATES.allows(this.state, next)) {
      this.state = next
      return true
    }
    this.breakOff(EXCHANGE_STATES.broken(this.state, next))
    return false
  }

  // --- answers that are not an upstream's --------------------------------------------------------

  /** A hook has answered by itself. */
  endAnswered(phase: string): void {
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
    if (this.become(WRITTEN)) this.finishWritten(this.endDownstream(null))
  }

  /** Completes the response; the error if less was written than was announced, which cuts it. */
  protected endDownstream(trailers: string[] | null): ProxyError | undefined {
    const { downstream } = this
    if (downstream.closed || downstream.responseEnded) return undefined
    downstream.endResponse(trailers)
    if (downstream.responseEnded) return undefined
    return new ProxyError('FILTER_FAILED', 'internal', 'The response ended before its announced length')
  }

  /** Once the request is on its way there is no phase that may answer it: the upstream's response is to come. */
  onAnswered(): void {
    if (this.state !== PROXYING) return
    // The hook that did it comes to its end first: what it throws says more.
    queueMicrotask(() => {
      this.fail(
        new ProxyError('FILTER_FAILED', 'internal', 'A hook wrote a response while another is proxied'),
      )
    })
  }

  wrongAnswer(phase: string, wanted: string, given: unknown): void {
    this.hookFailed(wrongAnswer(phase, wanted, given), phase)
  }

  // --- failures ----------------------------------------------------------------------------------

  fail(error: ProxyError): void {
    if (this.ended) return
    if (isBroken(error)) {
      this.breakOff(error)
      return
    }
    this.forgetHooks()
    if (this.attempt !== null) this.attempt.error ??= error
    this.dropUpstream()
    const { downstream } = this
    if (downstream.closed || downstream.responseStatus !== 0) {
      downstream.destroy(error)
      this.finish(error)
    } else if (this.state === FAILING || this.app.failToProxy === undefined) {
      this.answerFailure(error, statusForError(error), false)
    } else if (this.become(FAILING)) askFailToProxy(this, error)
  }

  answerFailure(error: ProxyError | undefined, status: number, canReuse: boolean): void {
    if (this.ended || (this.state !== FAILING && !this.become(FAILING))) return
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

  /**
   * An invariant is broken, and nothing here is to be trusted any more: asks no hook, tries nothing again, keeps
   * neither connection. The client gets a 500 if it was given nothing yet.
   */
  private breakOff(error: ProxyError): void {
    if (this.ended) return
    this.forgetHooks()
    this.dropUpstream()
    // The one move without a question: from wherever it was.
    this.state = FAILING
    const { downstream } = this
    if (downstream.responseStatus === 0 && !downstream.closed) {
      downstream.disableKeepAlive()
      this.session.respondError(500)
    } else downstream.destroy(error)
    this.finish(error)
  }

  protected dropUpstream(): void {
    this.pending?.cancel()
    this.pending = null
    this.response?.stop()
    this.request?.stop()
    const upstream = this.upstream
    this.upstream = null
    upstream?.destroy()
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Modules may still be at work on the response that was ended. */
  protected finishWritten(error: ProxyError | undefined): void {
    if (this.moduled === null) this.finish(error)
    else this.moduled.whenResponseWritten(() => this.finish(error))
  }

  /** The one way out: releases everything, then accounts for the request. */
  protected finish(error: ProxyError | undefined): void {
    if (this.ended) return
    const tunnelled = this.tunnel !== null
    // Whatever it was: a question here could only keep it open.
    this.state = ENDED
    this.dropUpstream()
    this.tunnel?.stop()
    this.retryTimer?.cancel()
    this.forgetHooks()
    const endedAt = this.now()
    this.session.record.endedAt = endedAt
    this.proxy.exchangeEnded(error)
    if (error !== undefined) {
      if (this.attempt !== null) this.attempt.error ??= error
      logFailure(this, error)
    }
    this.endAttempt(endedAt)
    callLogging(this, error)
    this.observers?.requestEnd(this.session, error)
    if (!tunnelled) persistContext(this)
  }

  protected endAttempt(at: number): void {
    const attempt = this.openAttempt
    if (attempt === null) return
    this.openAttempt = null
    attempt.endedAt = at
    this.releaseLease(attempt)
    this.observers?.attemptEnd(this.session, attempt)
  }

  /** Tells whoever chose the peer how it went; without an attempt, that the peer was not used. */
  releaseLease(attempt: Attempt | null): void {
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
  protected now(): number {
    return this.timed ? this.clock || performance.now() : 0
  }
}
