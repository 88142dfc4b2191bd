import type { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'

/** One try to get a response from a peer. */
export interface Attempt {
  /** Undefined while `upstreamPeer` has not answered. */
  peer: HttpPeer | undefined
  /** Whether the connection came from the pool. */
  reused: boolean
  /** The status of the final response's head, or 0. */
  status: number
  /** Why it failed, or undefined. */
  error: ProxyError | undefined
  /** When it began, on the clock of `performance.now()`. */
  readonly startedAt: number
  /** When a connection stood, or 0. */
  connectedAt: number
  /** When the final response's head arrived, or 0. */
  respondedAt: number
  /** When it had failed or the request had ended; 0 before. */
  endedAt: number
}

/** What a limit of the program said about the request; see `Session.noteLimit`. */
export interface LimitDecision {
  readonly name: string
  readonly allowed: boolean
}

/** Decisions that a record holds; later ones are left out. */
export const LIMIT_DECISIONS_MAX: number = 16

/**
 * The whole story of a request, for `logging`. Times are in milliseconds on the clock of `performance.now()`;
 * all are 0 in a proxy with neither `logging` nor observers, unless its option `recordTimes` is set. Steps that follow
 * each other at once, with no hook between, share one: request, first attempt and a connection from the pool.
 */
export interface RequestRecord {
  /** When the request's head had arrived. */
  readonly startedAt: number
  /** When the response was complete or the request had failed; 0 before. */
  endedAt: number
  /** All attempts, in order. Empty when no peer was asked. */
  readonly attempts: Attempt[]
  /** What limits said, in order. */
  limits: readonly LimitDecision[]
}
