import type { ProxyError } from '@cirque/error'
import { statusForError } from '@cirque/error'
import type { FailToProxy, OrNothing, ProxyHttp } from '../proxy-http.ts'
import type { Session } from '../session.ts'

/** The exchange, as the answer to a failed request sees it. */
export interface FailureAnswerOwner<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void
  hookFailed(thrown: unknown, phase: string): void
  wrongAnswer(phase: string, wanted: string, given: unknown): void
  answerFailure(error: ProxyError | undefined, status: number, canReuse: boolean): void
}

/** Lets `failToProxy` choose the answer to a request that has failed for good, and gives it. */
export function askFailToProxy<Ctx>(exchange: FailureAnswerOwner<Ctx>, error: ProxyError): void {
  const { app, session, ctx } = exchange
  exchange.invoke(
    'failToProxy',
    () => app.failToProxy?.(session, error, ctx),
    (done: OrNothing<FailToProxy>) => {
      if (done !== undefined && (typeof done !== 'object' || done === null)) {
        exchange.wrongAnswer('failToProxy', 'an object with a status, or nothing', done)
        return
      }
      const given = done?.status
      if (given !== undefined && !isAnswer(given)) {
        exchange.hookFailed(new RangeError(`Not a final status: ${String(given)}`), 'failToProxy')
      } else exchange.answerFailure(error, given ?? statusForError(error), done?.canReuseDownstream === true)
    },
  )
}

/** A final status, or 0 for no answer at all. */
function isAnswer(status: number): boolean {
  return status === 0 || (Number.isInteger(status) && status >= 200 && status <= 599)
}
