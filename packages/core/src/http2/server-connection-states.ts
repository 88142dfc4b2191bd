import { States } from '@cirque/error'

/** Takes requests; also while a drain still waits for those that the client has sent before it knew. */
export const OPEN = 0
/** GOAWAY has named the last request that is served; open ones finish. */
export const CLOSING = 1
/** The last frames are on their way, and our side is closed. */
export const LINGER = 2
/** Nothing moves any more. */
export const CLOSED = 3

/** The life of a client's connection; moves go down the list only. */
export type Http2ServerConnectionState = typeof OPEN | typeof CLOSING | typeof LINGER | typeof CLOSED

export const HTTP2_SERVER_STATES: States<Http2ServerConnectionState> = new States<Http2ServerConnectionState>(
  'HTTP/2 connection of a client',
  [
    { name: 'open', to: [CLOSING, LINGER, CLOSED] },
    { name: 'closing', to: [LINGER, CLOSED] },
    { name: 'linger', to: [CLOSED] },
    { name: 'closed', to: [] },
  ],
)
