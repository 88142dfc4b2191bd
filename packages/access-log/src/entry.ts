import type { ConnectionDigest } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { Session } from '@cirque/proxy'
import type { Redactor } from './redaction.ts'

/** The request that is being written down: one object for all of them, filled anew each time. */
export class Entry {
  readonly redactor: Redactor
  #session: Session | undefined
  #digest: ConnectionDigest | undefined
  error: ProxyError | undefined
  /** When it ended, in milliseconds since the epoch. */
  now = 0

  constructor(redactor: Redactor) {
    this.redactor = redactor
  }

  fill(session: Session, error: ProxyError | undefined): void {
    this.#session = session
    this.error = error
    this.now = Date.now()
  }

  /** Keeps nothing of the request alive. */
  clear(): void {
    this.#session = undefined
    this.#digest = undefined
    this.error = undefined
  }

  get session(): Session {
    return this.#session as Session
  }

  /** Asked for once per line, however many variables read it. */
  get digest(): ConnectionDigest {
    this.#digest ??= this.session.digest()
    return this.#digest
  }

  /** What the client got; 499, as nginx has it, when it left before it got anything. */
  get status(): number {
    const status = this.session.downstream.responseStatus
    return status === 0 && this.error?.source === 'downstream' ? 499 : status
  }
}
