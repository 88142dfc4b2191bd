import type { ClientSession, HttpPeer, ServerSession } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { isIdempotent } from '@cirque/http'
import type { Attempt, RequestRecord } from '../record.ts'
import type { FailedPeers } from './failed-peers.ts'
import type { RetryPermission } from './retry-budget.ts'

/** The exchange, as the rules for another attempt see it. */
export interface RetryFacts {
  readonly proxy: {
    readonly maxRetries: number
    readonly budget: RetryPermission | undefined
    readonly logger: { error(message: string, fields: Readonly<Record<string, unknown>>): void }
  }
  readonly session: { readonly record: RequestRecord; readonly request: { readonly method: string } }
  readonly downstream: ServerSession
  /** Null for a request without a body. */
  readonly request: { readonly replayable: boolean } | null
  readonly peer: HttpPeer | null
  readonly attempt: Attempt | null
  /** Peers that could not be connected to for this request. */
  readonly failedPeers: FailedPeers | null
  /** The method that went upstream; a filter may have changed it. */
  readonly sentMethod: string
}

/** Whether sending the request once more after `error` is provably harmless, and wanted. */
export function mayRetry(facts: RetryFacts, error: ProxyError, upstream: ClientSession | null): boolean {
  if (error.retry === 'never') return false
  const { proxy, session, downstream, request } = facts
  if (downstream.responseStatus !== 0 || downstream.closed) return false
  if (session.record.attempts.length >= proxy.maxRetries) return false
  if (request !== null && !request.replayable) return false
  if (upstream === null || !upstream.requestSent)
    return error.retry === 'allowed' ? !isExhausted(facts) : upstream !== null
  if (!isIdempotent(session.request.method) || !isIdempotent(facts.sentMethod)) return false
  return error.retry === 'allowed' || (upstream.reused && !upstream.responseStarted)
}

/** True when the peer that cannot be connected to has been dialled as often as one request may. */
function isExhausted({ peer, failedPeers }: RetryFacts): boolean {
  return peer !== null && failedPeers?.isExhausted(peer) === true
}

/** Whether the budget for retries has one left; takes it out. */
export function affordsRetry({ proxy, attempt }: RetryFacts): boolean {
  const { budget } = proxy
  // A connection from the pool that its peer closed meanwhile costs nobody anything.
  if (budget === undefined || (attempt?.reused === true && attempt.status === 0)) return true
  try {
    return budget.tryRetry()
  } catch (error) {
    proxy.logger.error('The retry budget failed', { error })
    return false
  }
}

/** True when an attempt ended before anything was sent: trying elsewhere adds no load to an upstream. */
export function nothingSent(upstream: ClientSession | null): boolean {
  return upstream === null || !upstream.requestSent
}
