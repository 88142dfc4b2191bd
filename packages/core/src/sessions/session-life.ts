import { ProxyError } from '@cirque/error'
import { ServerSession } from './server-session.ts'
import {
  BODYLESS,
  COMING,
  COMPLETE,
  ENDED,
  LENGTH,
  REQUEST_STATES,
  RESPONSE_STATES,
  type RequestState,
  type ResponseState,
  TUNNEL,
  TUNNEL_ENDED,
  UNWRITTEN,
} from './session-states.ts'

/** The life of an exchange with a client, of either protocol: the states of its request and of its response. */
export abstract class SessionLife extends ServerSession {
  protected requestState: RequestState = COMING
  protected responseState: ResponseState = UNWRITTEN
  /** Bytes of a body of known length that are still to be written. */
  protected responseRemaining = 0

  get requestEnded(): boolean {
    return this.requestState === ENDED
  }

  get responseEnded(): boolean {
    return this.responseState === COMPLETE || this.responseState === TUNNEL_ENDED
  }

  get closed(): boolean {
    return this.responseState >= COMPLETE
  }

  /** Takes the request's state `next`; false when that cannot be, and the exchange is over. */
  protected becomeRequest(next: RequestState): boolean {
    if (REQUEST_STATES.allows(this.requestState, next)) {
      this.requestState = next
      return true
    }
    this.breakOff(REQUEST_STATES.broken(this.requestState, next))
    return false
  }

  /** Takes the response's state `next`; false when that cannot be, and the exchange is over. */
  protected becomeResponse(next: ResponseState): boolean {
    if (RESPONSE_STATES.allows(this.responseState, next)) {
      this.responseState = next
      return true
    }
    this.breakOff(RESPONSE_STATES.broken(this.responseState, next))
    return false
  }

  /** Counts `size` bytes of a body in; false when they are not to be written, for which the exchange may have ended. */
  protected takesBody(size: number): boolean {
    const state = this.responseState
    if (size === 0 || state === BODYLESS || state > TUNNEL) return false
    if (state === UNWRITTEN) {
      this.fail(new ProxyError('INTERNAL_ERROR', 'internal', 'Response body before its head'), true)
      return false
    }
    if (state === LENGTH) {
      if (size > this.responseRemaining) {
        const act = 'Response body exceeds its Content-Length'
        this.fail(new ProxyError('INTERNAL_ERROR', 'internal', act), true)
        return false
      }
      this.responseRemaining -= size
    }
    this.responseBodyBytes += size
    return true
  }

  /** Why the response cannot end as it is; null when it can. */
  protected endProblem(): ProxyError | null {
    if (this.responseState === UNWRITTEN)
      return new ProxyError('INTERNAL_ERROR', 'internal', 'The response ended before its head was written')
    if (this.responseState !== LENGTH || this.responseRemaining === 0) return null
    const act = `Response body is ${this.responseRemaining} bytes short`
    return new ProxyError('PREMATURE_BODY_END', 'internal', act)
  }

  /** The client broke the exchange, or we cannot go on with it; `dead` says that nothing can be answered. */
  abstract fail(error: ProxyError, dead: boolean): void
  /** An invariant of this exchange is broken: it is answered if it can be, and its connection serves nothing more. */
  abstract breakOff(error: ProxyError): void
}
