import { type Channel, channel } from 'node:diagnostics_channel'
import type { ProxyError } from '@cirque/error'
import type { Attempt } from '../record.ts'
import type { Session } from '../session.ts'
import type { ProxyObserver } from './proxy-observer.ts'

/** What is published on `cirque:request:start` and `cirque:request:end`; `error` is undefined at the start. */
export interface RequestMessage {
  readonly session: Session
  readonly error: ProxyError | undefined
}

/** What is published on `cirque:attempt:start` and `cirque:attempt:end`. */
export interface AttemptMessage {
  readonly session: Session
  readonly attempt: Attempt
}

const requestStart: Channel = channel('cirque:request:start')
const requestEnd: Channel = channel('cirque:request:end')
const attemptStart: Channel = channel('cirque:attempt:start')
const attemptEnd: Channel = channel('cirque:attempt:end')

/** Whether anybody listens to requests or attempts. Asked once per request. */
export function hasChannelSubscribers(): boolean {
  return (
    requestEnd.hasSubscribers ||
    requestStart.hasSubscribers ||
    attemptEnd.hasSubscribers ||
    attemptStart.hasSubscribers
  )
}

/** Publishes what happens on the channels of `node:diagnostics_channel`. */
export const channelObserver: ProxyObserver = {
  onRequestStart(session) {
    if (requestStart.hasSubscribers)
      requestStart.publish({ session, error: undefined } satisfies RequestMessage)
  },
  onAttemptStart(session, attempt) {
    if (attemptStart.hasSubscribers) attemptStart.publish({ session, attempt } satisfies AttemptMessage)
  },
  onAttemptEnd(session, attempt) {
    if (attemptEnd.hasSubscribers) attemptEnd.publish({ session, attempt } satisfies AttemptMessage)
  },
  onRequestEnd(session, error) {
    if (requestEnd.hasSubscribers) requestEnd.publish({ session, error } satisfies RequestMessage)
  },
}
