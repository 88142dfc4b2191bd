import { type Channel, channel } from 'node:diagnostics_channel'
import type { Backend } from './backend.ts'

/** Something an operator may want to know. Told once, when it happened. */
export type BalancerEvent =
  | { readonly type: 'healthy'; readonly backend: Backend }
  | { readonly type: 'unhealthy'; readonly backend: Backend; readonly error: unknown }
  | { readonly type: 'ejected'; readonly backend: Backend; readonly ejectionMs: number }
  | { readonly type: 'returned'; readonly backend: Backend }
  | { readonly type: 'breaker-open'; readonly backend: Backend }
  | { readonly type: 'breaker-half-open'; readonly backend: Backend }
  | { readonly type: 'breaker-closed'; readonly backend: Backend }
  /** Too few usable backends in a group: health is ignored there until `panicking` is false again. */
  | { readonly type: 'panic'; readonly priority: number; readonly panicking: boolean }
  | { readonly type: 'updated'; readonly added: readonly Backend[]; readonly removed: readonly Backend[] }
  /** Discovery or the new set failed; the last good set stays in place. */
  | { readonly type: 'update-failed'; readonly error: unknown }

/** Takes events. Called synchronously; what it throws, or rejects with, becomes a process warning. */
export type BalancerListener = (event: BalancerEvent) => void

/** Listeners that may subscribe to one balancer. */
export const LISTENERS_MAX: number = 100

/** What is published on the channel `cirque:health`. */
export interface HealthMessage {
  /** The balancer's name. */
  readonly balancer: string
  readonly event: BalancerEvent
}

const healthChannel: Channel = channel('cirque:health')

/** Who listens to one balancer. */
export class Listeners {
  readonly #balancer: string
  readonly #listeners: Set<{ readonly call: BalancerListener }> = new Set()

  /** @param balancer - Its name, for those who listen to all. */
  constructor(balancer: string) {
    this.#balancer = balancer
  }

  /** Adds a listener; the function returned takes it away again. */
  add(call: BalancerListener): () => void {
    if (typeof call !== 'function')
      throw new TypeError(`Expected a listener function, received ${typeof call}`)
    if (this.#listeners.size >= LISTENERS_MAX) {
      throw new RangeError(`A balancer takes ${LISTENERS_MAX} listeners at most; is one not unsubscribed?`)
    }
    const entry = { call }
    this.#listeners.add(entry)
    return () => {
      this.#listeners.delete(entry)
    }
  }

  emit(event: BalancerEvent): void {
    if (healthChannel.hasSubscribers) {
      healthChannel.publish({ balancer: this.#balancer, event } satisfies HealthMessage)
    }
    for (const { call } of this.#listeners) guarded(() => call(event))
  }
}

/**
 * Runs a user's callback; its error must not end the request or the loop that happened to call it. The rejection of
 * an async one, which fits the same type, must not end the process.
 */
export function guarded(callback: () => unknown): void {
  try {
    const result = callback()
    if (result instanceof Promise) result.catch(warn)
  } catch (error) {
    warn(error)
  }
}

function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error), { code: 'CIRQUE_LISTENER_FAILED' })
}
