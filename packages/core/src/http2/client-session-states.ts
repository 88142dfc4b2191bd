import { States } from '@cirque/error'

/** Nothing of the request was sent; an upgrade may have to wait for the peer's settings. */
export const NEW = 0
/** The request is under way; the head of its response is not complete. */
export const HEAD = 1
/** The response's body is under way. */
export const BODY = 2
/** The upgrade is granted; bytes pass both ways. */
export const TUNNEL = 3
/** The response is complete; the request may not be. */
export const COMPLETE = 4
/** Both are, but the peer has not ended its stream. */
export const WHOLE = 5
/** The response is complete, and the stream is gone: its place is free. */
export const DONE = 6
/** Its owner has let go of it. The stream's end is waited for, without hurry. */
export const LINGER = 7
/** Nothing moves any more; its place is free. */
export const CLOSED = 8

/** The life of an exchange with a peer. */
export type Http2ClientSessionState =
  | typeof NEW
  | typeof HEAD
  | typeof BODY
  | typeof TUNNEL
  | typeof COMPLETE
  | typeof WHOLE
  | typeof DONE
  | typeof LINGER
  | typeof CLOSED

/** Down the list; whatever happens to an exchange, it may end. */
export const HTTP2_SESSION_STATES: States<Http2ClientSessionState> = new States<Http2ClientSessionState>(
  'HTTP/2 exchange with an upstream',
  [
    { name: 'new', to: [HEAD, CLOSED] },
    { name: 'head', to: [BODY, TUNNEL, CLOSED] },
    { name: 'body', to: [COMPLETE, WHOLE, CLOSED] },
    { name: 'tunnel', to: [COMPLETE, CLOSED] },
    { name: 'complete', to: [DONE, CLOSED] },
    { name: 'whole', to: [DONE, LINGER, CLOSED] },
    { name: 'done', to: [CLOSED] },
    { name: 'linger', to: [CLOSED] },
    { name: 'closed', to: [] },
  ],
)
