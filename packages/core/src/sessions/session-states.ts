import { States } from '@cirque/error'

/** Its body, or the news that it has none, is still to be told in full. */
export const COMING = 0
/** The response is complete: what still comes of the body is read and dropped. */
export const DROPPED = 1
/** The client broke it, and the handler knows. It may still be answered. */
export const FAILED = 2
/** It became a tunnel, whose bytes are what comes. */
export const TUNNELLED = 3
/** Its end was told, or dropped; a tunnel's end likewise. */
export const ENDED = 4

/** What is still to come of a client's request. */
export type RequestState = typeof COMING | typeof DROPPED | typeof FAILED | typeof TUNNELLED | typeof ENDED

/** A client may break its request whatever is left of it, as long as its response is not complete. */
export const REQUEST_STATES: States<RequestState> = new States<RequestState>('request of a client', [
  { name: 'coming', to: [DROPPED, FAILED, TUNNELLED, ENDED] },
  { name: 'dropped', to: [ENDED] },
  { name: 'failed', to: [] },
  { name: 'tunnelled', to: [FAILED, ENDED] },
  { name: 'ended', to: [FAILED, TUNNELLED] },
])

/** No final head was written. */
export const UNWRITTEN = 0
/** The head was; no body follows. */
export const BODYLESS = 1
/** A body of the length that its head says (RFC 9112 §6.2). */
export const LENGTH = 2
/** A body in chunks (RFC 9112 §7.1). */
export const CHUNKED = 3
/** A body that the end of the connection ends, or with HTTP/2 of the stream. */
export const UNTIL_END = 4
/** 101 was written; bytes pass both ways. */
export const TUNNEL = 5
/** Our side of the tunnel has ended, the client's has not. */
export const TUNNEL_ENDED = 6
/** Everything is written: the session is over. */
export const COMPLETE = 7
/** The session ended before its response was complete. */
export const CUT = 8

/** How far the response to a client is, and how its body is framed. */
export type ResponseState =
  | typeof UNWRITTEN
  | typeof BODYLESS
  | typeof LENGTH
  | typeof CHUNKED
  | typeof UNTIL_END
  | typeof TUNNEL
  | typeof TUNNEL_ENDED
  | typeof COMPLETE
  | typeof CUT

/** One head, one body, one end. */
export const RESPONSE_STATES: States<ResponseState> = new States<ResponseState>('response to a client', [
  { name: 'unwritten', to: [BODYLESS, LENGTH, CHUNKED, UNTIL_END, TUNNEL, CUT] },
  { name: 'bodyless', to: [COMPLETE, CUT] },
  { name: 'length', to: [COMPLETE, CUT] },
  { name: 'chunked', to: [COMPLETE, CUT] },
  { name: 'until end', to: [COMPLETE, CUT] },
  { name: 'tunnel', to: [TUNNEL_ENDED, COMPLETE, CUT] },
  { name: 'tunnel ended', to: [COMPLETE, CUT] },
  { name: 'complete', to: [] },
  { name: 'cut', to: [] },
])
