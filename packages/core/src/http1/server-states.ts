import { States } from '@cirque/error'

/** Between messages; no byte of the next head has arrived. */
export const IDLE = 0
/** Part of a head has arrived. */
export const HEAD = 1
/** A session is open. */
export const EXCHANGE = 2
/** The response is complete; the rest of its request's body is read and dropped. */
export const DISCARD = 3
/** 101 was sent; bytes pass both ways. */
export const TUNNEL = 4
/** The last response is written and our side is closed; what still comes is dropped. */
export const LINGER = 5
/** Nothing moves any more. */
export const CLOSED = 6

/** The life of a client's connection: round and round from `IDLE`, until it is a tunnel or ends. */
export type ServerConnectionState =
  | typeof IDLE
  | typeof HEAD
  | typeof EXCHANGE
  | typeof DISCARD
  | typeof TUNNEL
  | typeof LINGER
  | typeof CLOSED

/** Moves go down the list, or back from `EXCHANGE` and `DISCARD` to `IDLE`. */
export const SERVER_STATES: States<ServerConnectionState> = new States<ServerConnectionState>(
  'connection of a client',
  [
    // A head that arrives whole needs no state of its own; one that is refused is answered from here.
    { name: 'idle', to: [HEAD, EXCHANGE, LINGER, CLOSED] },
    { name: 'head', to: [EXCHANGE, LINGER, CLOSED] },
    { name: 'exchange', to: [IDLE, DISCARD, TUNNEL, LINGER, CLOSED] },
    { name: 'discard', to: [IDLE, LINGER, CLOSED] },
    { name: 'tunnel', to: [LINGER, CLOSED] },
    { name: 'linger', to: [CLOSED] },
    { name: 'closed', to: [] },
  ],
)
