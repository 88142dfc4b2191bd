import type { ProxyError } from '@cirque/error'
import { ServerSession } from './server-session.ts'
import {
  COMING,
  COMPLETE,
  ENDED,
  REQUEST_STATES,
  RESPONSE_STATES,
  type RequestState,
  type ResponseState,
  TUNNEL_ENDED,
  UNWRITTEN,
} from './session-states.ts'

/** The life of an exchange with a client, of either protocol: the states of its request and of its response. */
export abstract class SessionLife extends ServerSession {
  protected requestState: RequestState = COMING
  protected responseState: ResponseState = UNWRITTEN

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

  /** An invariant of this exchange is broken: it is answered if it can be, and its connection serves nothing more. */
  abstract breakOff(error: ProxyError): void
}
