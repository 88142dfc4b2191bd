import type { HttpPeer, ServerSession } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { answerAtOnce, isPromise, isVerdict, wrongAnswer } from '../hooks/hook-answers.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'
import type { ExchangeHost } from './exchange-host.ts'

/** An exchange that has ended, as those see it who account for it. What their hooks throw is logged, no more. */
export interface EndedExchange<Ctx> {
  readonly proxy: ExchangeHost<Ctx>
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  /** False when `newCtx` failed: then no hook is called. */
  readonly hasCtx: boolean
  readonly downstream: ServerSession
  readonly peer: HttpPeer | null
}

/** Puts a failure in the log, unless the user's hook keeps it out. */
export function logFailure<Ctx>(exchange: EndedExchange<Ctx>, error: ProxyError): void {
  const { session, proxy, peer } = exchange
  if (isSuppressed(exchange, error)) return
  const fields = {
    request: summaryOf(exchange),
    attempts: session.record.attempts.length,
    peer: String(peer ?? '-'),
    error,
  }
  if (error.source === 'downstream') proxy.logger.info('Client ended its request', fields)
  else proxy.logger.error('Request failed', fields)
}

function isSuppressed<Ctx>(exchange: EndedExchange<Ctx>, error: ProxyError): boolean {
  const { app, session, ctx, hasCtx } = exchange
  if (app.suppressErrorLog === undefined || !hasCtx) return false
  try {
    const verdict = answerAtOnce(app.suppressErrorLog(session, error, ctx), 'suppressErrorLog')
    if (!isVerdict(verdict)) throw wrongAnswer('suppressErrorLog', 'true, false or nothing', verdict)
    return verdict === true
  } catch (thrown) {
    logHookFailure(exchange.proxy, thrown, 'suppressErrorLog')
    return false
  }
}

function summaryOf<Ctx>(exchange: EndedExchange<Ctx>): string {
  const { app, session, ctx, hasCtx } = exchange
  if (app.requestSummary !== undefined && hasCtx) {
    try {
      return String(answerAtOnce(app.requestSummary(session, ctx), 'requestSummary'))
    } catch (thrown) {
      logHookFailure(exchange.proxy, thrown, 'requestSummary')
    }
  }
  const { method, path, host } = session.request
  return `${method} ${path}, Host: ${host ?? '-'}`
}

/** Calls `logging`, and waits for nothing. */
export function callLogging<Ctx>(exchange: EndedExchange<Ctx>, error: ProxyError | undefined): void {
  const { app, session, ctx, hasCtx, proxy } = exchange
  if (app.logging === undefined || !hasCtx) return
  try {
    const result = app.logging(session, error, ctx)
    if (isPromise(result)) {
      Promise.resolve(result).catch((thrown: unknown) => logHookFailure(proxy, thrown, 'logging'))
    }
  } catch (thrown) {
    logHookFailure(proxy, thrown, 'logging')
  }
}

/** Asks `persistConnectionContext` for what the connection's next request shall find. */
export function persistContext<Ctx>(exchange: EndedExchange<Ctx>): void {
  const { app, session, ctx, hasCtx, proxy, downstream } = exchange
  if (app.persistConnectionContext === undefined || !hasCtx || !downstream.responseEnded) return
  try {
    const kept = answerAtOnce(app.persistConnectionContext(session, ctx), 'persistConnectionContext')
    proxy.keepConnectionContext(downstream, kept)
  } catch (thrown) {
    logHookFailure(proxy, thrown, 'persistConnectionContext')
  }
}

/** A hook of which nobody waits for the answer has failed. */
export function logHookFailure<Ctx>(proxy: ExchangeHost<Ctx>, thrown: unknown, phase: string): void {
  proxy.logger.error('A hook failed after the request had ended', { phase, error: thrown })
}
