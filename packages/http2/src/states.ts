import { States } from '@cirque/error'

/** Begun by neither side. A stream is in it only until its first head; one that nobody has begun has no object. */
export const IDLE = 4
/** Both sides may send. */
export const OPEN = 0
/** We have ended our message. */
export const HALF_CLOSED_LOCAL = 1
/** The peer has ended its message. */
export const HALF_CLOSED_REMOTE = 2
/** Both have, or one has reset it: the connection has forgotten it. What came before may still be delivered. */
export const CLOSED = 3

/** The life of a stream (RFC 9113 §5.1). Nothing is pushed, so that none is ever reserved. */
export type StreamState =
  | typeof IDLE
  | typeof OPEN
  | typeof HALF_CLOSED_LOCAL
  | typeof HALF_CLOSED_REMOTE
  | typeof CLOSED

/** In a state with this bit we send nothing more, but for what ends the stream. */
export const LOCAL_ENDED = 1
/** In a state with this bit the peer sends nothing more. */
export const REMOTE_ENDED = 2

/** What a peer does wrong is never asked of this table: that is an error of the protocol. */
export const STREAM_STATES: States<StreamState> = new States<StreamState>('HTTP/2 stream', [
  { name: 'open', to: [HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED] },
  { name: 'half-closed (local)', to: [CLOSED] },
  { name: 'half-closed (remote)', to: [CLOSED] },
  { name: 'closed', to: [] },
  { name: 'idle', to: [OPEN, CLOSED] },
])

/** Takes and opens streams. */
export const SERVING = 0
/** The peer was warned; streams that it begins are still served. */
export const DRAINING = 1
/** GOAWAY has named the last stream; open ones go on. */
export const CLOSING = 2
/** Nothing has a meaning any more. */
export const ENDED = 3

/** The life of a connection: down the list, and never back. */
export type ConnectionState = typeof SERVING | typeof DRAINING | typeof CLOSING | typeof ENDED

export const CONNECTION_STATES: States<ConnectionState> = new States<ConnectionState>('HTTP/2 connection', [
  { name: 'open', to: [DRAINING, CLOSING, ENDED] },
  { name: 'draining', to: [CLOSING, ENDED] },
  { name: 'closing', to: [ENDED] },
  { name: 'closed', to: [] },
])
