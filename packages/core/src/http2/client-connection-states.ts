import { States } from '@cirque/error'

/** Takes requests, as many at once as both sides allow. */
export const OPEN = 0
/** Takes no more requests; those under way finish. */
export const RETIRED = 1
/** The last frames are on their way: it ends by itself, or is cut before long. */
export const CLOSING = 2
/** Nothing moves any more. */
export const CLOSED = 3

/** The life of a connection to a peer; moves go down the list only. */
export type Http2ClientConnectionState = typeof OPEN | typeof RETIRED | typeof CLOSING | typeof CLOSED

export const HTTP2_CLIENT_STATES: States<Http2ClientConnectionState> = new States<Http2ClientConnectionState>(
  'HTTP/2 connection to an upstream',
  [
    { name: 'open', to: [RETIRED, CLOSED] },
    { name: 'retired', to: [CLOSING, CLOSED] },
    { name: 'closing', to: [CLOSED] },
    { name: 'closed', to: [] },
  ],
)
