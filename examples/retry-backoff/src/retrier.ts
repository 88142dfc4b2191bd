import { HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { Attempt, ProxyHttp, Session } from '@cirque/proxy'
import type { RetryOptions } from './options.ts'

/**
 * Goes on to the next peer when one fails, until the deadline, and tells each request's story.
 *
 * To allow a retry is a wish: the proxy retries only what is harmless to send twice. A POST goes to another
 * peer when no connection could be made, and not once it was sent.
 */
export class Retrier implements ProxyHttp {
  readonly #peers: readonly HttpPeer[]
  readonly #deadlineMs: number
  readonly #say: (line: string) => void

  constructor(options: Pick<RetryOptions, 'peerAddresses' | 'deadlineMs'>, say: (line: string) => void) {
    this.#peers = options.peerAddresses.map((address) => new HttpPeer(address, { connectTimeoutMs: 500 }))
    this.#deadlineMs = options.deadlineMs
    this.#say = say
  }

  /** Called for each attempt; the one that begins is counted already. */
  upstreamPeer(session: Session): HttpPeer {
    const index = (session.record.attempts.length - 1) % this.#peers.length
    return this.#peers[index] as HttpPeer
  }

  /** No connection: nothing was sent. */
  failToConnect(session: Session, _peer: HttpPeer, error: ProxyError): void {
    error.retry = this.#isLate(session) ? 'never' : 'allowed'
  }

  /** The connection failed later. It may be the client's, which no retry would bring back. */
  errorWhileProxy(session: Session, _peer: HttpPeer, error: ProxyError): void {
    if (error.source === 'upstream') error.retry = this.#isLate(session) ? 'never' : 'allowed'
  }

  logging(session: Session): void {
    const { attempts, startedAt, endedAt } = session.record
    const { method, path } = session.request
    const tries = attempts.length === 1 ? '1 attempt' : `${attempts.length} attempts`
    const status = session.downstream.responseStatus || 'no answer'
    this.#say(`${method} ${path}: ${status} after ${tries}, ${ms(endedAt - startedAt)}`)
    for (const attempt of attempts) {
      this.#say(`  at ${ms(attempt.startedAt - startedAt)}: ${attempt.peer} ${outcome(attempt)}`)
    }
  }

  #isLate(session: Session): boolean {
    return performance.now() - session.record.startedAt > this.#deadlineMs
  }
}

function outcome({ status, error }: Attempt): string {
  return status !== 0 ? `answered ${status}` : `failed: ${error?.code ?? 'the client left'}`
}

function ms(duration: number): string {
  return `${duration.toFixed(1)} ms`
}
