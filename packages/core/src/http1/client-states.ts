import { States } from '@cirque/error'

/** No exchange: not connected yet, or connected and unused. A byte that arrives now destroys the connection. */
export const IDLE = 0
/** A request is under way; its response's head is not complete. */
export const HEAD = 1
/** The response's body is under way. */
export const BODY = 2
/** The response is complete; the request may not be. */
export const COMPLETE = 3
/** 101 arrived; bytes pass both ways. */
export const TUNNEL = 4
/** Nothing moves any more. */
export const CLOSED = 5

/** The life of a connection to a peer: round and round from `IDLE`, until it is a tunnel or closed. */
export type ClientConnectionState =
  | typeof IDLE
  | typeof HEAD
  | typeof BODY
  | typeof COMPLETE
  | typeof TUNNEL
  | typeof CLOSED

/** Every state but the last may end; a connection is only ever reused from a response's end. */
export const CLIENT_STATES: States<ClientConnectionState> = new States<ClientConnectionState>(
  'connection to an upstream',
  [
    { name: 'idle', to: [HEAD, CLOSED] },
    { name: 'head', to: [BODY, TUNNEL, CLOSED] },
    { name: 'body', to: [COMPLETE, CLOSED] },
    { name: 'complete', to: [IDLE, CLOSED] },
    { name: 'tunnel', to: [CLOSED] },
    { name: 'closed', to: [] },
  ],
)
