import type { ProxyError } from '@cirque/error'
import type { RequestHeader } from '@cirque/http'
import type { Attempt } from '../record.ts'
import type { Session } from '../session.ts'

/**
 * Something that watches all requests of a proxy beside its {@link ProxyHttp}: an access log, metrics, traces.
 * Given with the option `observers`, it needs no subclass and no change of the application.
 *
 * Every method is called at once and must return at once. What one throws is logged and changes nothing: the
 * request goes on, and so do the other observers. An observer reads; answering or editing the session is for hooks.
 */
export interface ProxyObserver {
  /** Called once per request, before its first hook other than `newCtx`. */
  onRequestStart?(session: Session): void
  /** Called once per attempt, before `upstreamPeer`: `attempt.peer` is not known yet. */
  onAttemptStart?(session: Session, attempt: Attempt): void
  /**
   * Called once per attempt with a connection, with the request that is about to be sent, before
   * `upstreamRequestFilter`: the place to pass a trace's context on. The only thing that an observer may edit.
   */
  onUpstreamRequest?(session: Session, attempt: Attempt, request: RequestHeader): void
  /** Called once per attempt, when it has failed or the request has ended. */
  onAttemptEnd?(session: Session, attempt: Attempt): void
  /** Called once per request, right after `logging`; also when `newCtx` failed and `logging` is left out. */
  onRequestEnd?(session: Session, error: ProxyError | undefined): void
}

const METHODS = [
  'onRequestStart',
  'onAttemptStart',
  'onUpstreamRequest',
  'onAttemptEnd',
  'onRequestEnd',
] as const satisfies readonly (keyof ProxyObserver)[]

/** @throws {TypeError} If it is no observer. */
export function checkObserver(observer: ProxyObserver): void {
  const given: unknown = observer
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(`An observer must be an object, not ${String(given)}`)
  }
  let count = 0
  for (const method of METHODS) {
    if (observer[method] === undefined) continue
    if (typeof observer[method] !== 'function')
      throw new TypeError(`"${method}" of an observer must be a method`)
    count++
  }
  if (count === 0) throw new TypeError(`An observer needs one of ${METHODS.join(', ')}`)
}
