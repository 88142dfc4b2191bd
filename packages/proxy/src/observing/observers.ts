import type { Logger } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { RequestHeader } from '@cirque/http'
import { isPromise } from '../hooks/hook-answers.ts'
import type { Attempt } from '../record.ts'
import type { Session } from '../session.ts'
import { channelObserver, hasChannelSubscribers } from './channels.ts'
import { checkObserver, type ProxyObserver } from './proxy-observer.ts'

/** The observers of one proxy, sorted by what they listen to. */
export class ObserverSet {
  readonly #requestStart: readonly ProxyObserver[]
  readonly #attemptStart: readonly ProxyObserver[]
  readonly #upstreamRequest: readonly ProxyObserver[]
  readonly #attemptEnd: readonly ProxyObserver[]
  readonly #requestEnd: readonly ProxyObserver[]
  readonly #owner: { readonly logger: Logger }

  constructor(observers: readonly ProxyObserver[], owner: { readonly logger: Logger }) {
    const having = (method: keyof ProxyObserver) => observers.filter((one) => one[method] !== undefined)
    this.#requestStart = having('onRequestStart')
    this.#attemptStart = having('onAttemptStart')
    this.#upstreamRequest = having('onUpstreamRequest')
    this.#attemptEnd = having('onAttemptEnd')
    this.#requestEnd = having('onRequestEnd')
    this.#owner = owner
  }

  requestStart(session: Session): void {
    for (const observer of this.#requestStart) {
      try {
        this.#settle(observer.onRequestStart?.(session), 'onRequestStart')
      } catch (thrown) {
        this.#failed(thrown, 'onRequestStart')
      }
    }
  }

  attemptStart(session: Session, attempt: Attempt): void {
    for (const observer of this.#attemptStart) {
      try {
        this.#settle(observer.onAttemptStart?.(session, attempt), 'onAttemptStart')
      } catch (thrown) {
        this.#failed(thrown, 'onAttemptStart')
      }
    }
  }

  upstreamRequest(session: Session, attempt: Attempt, request: RequestHeader): void {
    for (const observer of this.#upstreamRequest) {
      try {
        this.#settle(observer.onUpstreamRequest?.(session, attempt, request), 'onUpstreamRequest')
      } catch (thrown) {
        this.#failed(thrown, 'onUpstreamRequest')
      }
    }
  }

  attemptEnd(session: Session, attempt: Attempt): void {
    for (const observer of this.#attemptEnd) {
      try {
        this.#settle(observer.onAttemptEnd?.(session, attempt), 'onAttemptEnd')
      } catch (thrown) {
        this.#failed(thrown, 'onAttemptEnd')
      }
    }
  }

  requestEnd(session: Session, error: ProxyError | undefined): void {
    for (const observer of this.#requestEnd) {
      try {
        this.#settle(observer.onRequestEnd?.(session, error), 'onRequestEnd')
      } catch (thrown) {
        this.#failed(thrown, 'onRequestEnd')
      }
    }
  }

  /** An `async` method fits the type of one that returns nothing: what it rejects with must not end the process. */
  #settle(result: unknown, method: keyof ProxyObserver): void {
    if (!isPromise(result)) return
    Promise.resolve(result).catch((thrown: unknown) => this.#failed(thrown, method))
  }

  #failed(thrown: unknown, method: keyof ProxyObserver): void {
    this.#owner.logger.error('An observer failed', { method, error: thrown })
  }
}

/** Chooses, request by request, who watches: the proxy's observers, and the channels while somebody listens there. */
export class Watching {
  readonly #observers: readonly ProxyObserver[]
  readonly #owner: { readonly logger: Logger }
  readonly #always: ObserverSet | null
  #withChannels: ObserverSet | null = null

  /** @throws {TypeError} If one of the observers is none. */
  constructor(observers: readonly ProxyObserver[], owner: { readonly logger: Logger }) {
    if (!Array.isArray(observers)) throw new TypeError('Proxy option "observers" must be an array')
    for (const observer of observers) checkObserver(observer)
    this.#observers = [...observers]
    this.#owner = owner
    this.#always = observers.length === 0 ? null : new ObserverSet(this.#observers, owner)
  }

  /** Null when nobody watches, which then costs nothing more. */
  current(): ObserverSet | null {
    if (!hasChannelSubscribers()) return this.#always
    this.#withChannels ??= new ObserverSet([...this.#observers, channelObserver], this.#owner)
    return this.#withChannels
  }
}
