import type { ModuleSession, ServerSession } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { answerAtOnce, hookError, isVerdict } from '../hooks/hook-answers.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'
import type { ExchangeHost } from './exchange-host.ts'

/** The exchange, as the phases before its first attempt see it. */
export interface RequestPhasesOwner<Ctx> {
  readonly proxy: ExchangeHost<Ctx>
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  /** The same as `downstream` when the service has modules. */
  readonly moduled: ModuleSession | null
  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void
  /** A peer is to be asked. */
  startAttempt(): void
  /** The hook `phase` says that it has answered by itself. */
  endAnswered(phase: string): void
  /** Answers with `status` in place of an upstream's response. */
  answerFailure(error: ProxyError | undefined, status: number, canReuse: boolean): void
  /** The hook `phase` has returned what means nothing. */
  wrongAnswer(phase: string, wanted: string, given: unknown): void
  fail(error: ProxyError): void
}

/** What happens to a request before a peer is asked: each phase goes on with the next, unless its hook answers. */
export function runRequestPhases<Ctx>(exchange: RequestPhasesOwner<Ctx>): void {
  const { proxy, app, session, ctx, downstream } = exchange
  proxy.budget?.recordRequest()
  const previous = proxy.takeConnectionContext(downstream)
  if (previous !== undefined && app.onConnectionReuse !== undefined) {
    try {
      answerAtOnce(app.onConnectionReuse(session, previous, ctx), 'onConnectionReuse')
    } catch (error) {
      exchange.fail(hookError(error, 'onConnectionReuse'))
      return
    }
  }
  if (app.earlyRequestFilter === undefined) passModules(exchange)
  else {
    exchange.invoke(
      'earlyRequestFilter',
      () => app.earlyRequestFilter?.(session, ctx),
      () => passModules(exchange),
    )
  }
}

function passModules<Ctx>(exchange: RequestPhasesOwner<Ctx>): void {
  const { moduled } = exchange
  if (moduled === null) filterRequest(exchange)
  else {
    exchange.invoke(
      'requestHeaderFilter of a module',
      () => moduled.filterRequestHeader(),
      () => filterRequest(exchange),
    )
  }
}

function filterRequest<Ctx>(exchange: RequestPhasesOwner<Ctx>): void {
  const { app, session, ctx } = exchange
  if (app.requestFilter === undefined) decideUpstream(exchange)
  else {
    exchange.invoke(
      'requestFilter',
      () => app.requestFilter?.(session, ctx),
      (answered) => {
        if (answered === true) exchange.endAnswered('requestFilter')
        else if (isVerdict(answered)) decideUpstream(exchange)
        else exchange.wrongAnswer('requestFilter', 'true, false or nothing', answered)
      },
    )
  }
}

function decideUpstream<Ctx>(exchange: RequestPhasesOwner<Ctx>): void {
  const { app, session, ctx } = exchange
  if (app.proxyUpstreamFilter === undefined) exchange.startAttempt()
  else {
    exchange.invoke(
      'proxyUpstreamFilter',
      () => app.proxyUpstreamFilter?.(session, ctx),
      (goOn) => {
        if (!isVerdict(goOn)) exchange.wrongAnswer('proxyUpstreamFilter', 'true, false or nothing', goOn)
        else if (goOn !== false) exchange.startAttempt()
        else if (exchange.downstream.responseStatus !== 0) exchange.endAnswered('proxyUpstreamFilter')
        else exchange.answerFailure(undefined, 502, true)
      },
    )
  }
}
