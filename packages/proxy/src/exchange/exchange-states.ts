import { type ProxyError, States } from '@cirque/error'

/** The phases before the first attempt run. */
export const REQUEST = 0
/** An attempt has begun; its peer is being chosen. */
export const CHOOSING = 1
/** A connection to the peer is being opened, or `failToConnect` judges why there is none. */
export const CONNECTING = 2
/** A connection stands; the request's head is not on its way. */
export const CONNECTED = 3
/** The request's head is on its way: its response is to come, or is passed on. */
export const PROXYING = 4
/** 101 was passed on: bytes pass both ways. */
export const TUNNEL = 5
/** The attempt is given up. Another one follows, at once or after a wait, or the end. */
export const LOST = 6
/** The request has failed for good: the answer is asked for, or written. */
export const FAILING = 7
/** The response was ended; modules may still hold some of it. */
export const WRITTEN = 8
/** Both sides are released, and the request is accounted for. */
export const ENDED = 9

/** The life of a proxied exchange. */
export type ExchangeState =
  | typeof REQUEST
  | typeof CHOOSING
  | typeof CONNECTING
  | typeof CONNECTED
  | typeof PROXYING
  | typeof TUNNEL
  | typeof LOST
  | typeof FAILING
  | typeof WRITTEN
  | typeof ENDED

/** Whatever happens to an exchange, it may end; the rest is its way through the phases. */
export const EXCHANGE_STATES: States<ExchangeState> = new States<ExchangeState>('proxied exchange', [
  { name: 'request', to: [CHOOSING, FAILING, WRITTEN, ENDED] },
  { name: 'choosing', to: [CONNECTING, CONNECTED, LOST, FAILING, ENDED] },
  { name: 'connecting', to: [CONNECTED, LOST, FAILING, ENDED] },
  // A hook may have answered by itself before the upstream was asked.
  { name: 'connected', to: [PROXYING, LOST, FAILING, WRITTEN, ENDED] },
  { name: 'proxying', to: [TUNNEL, LOST, FAILING, WRITTEN, ENDED] },
  { name: 'tunnel', to: [ENDED] },
  // So may one that was not heard any more, while the next attempt was waited for.
  { name: 'lost', to: [CHOOSING, FAILING, WRITTEN, ENDED] },
  { name: 'failing', to: [ENDED] },
  // A module may fail while the end of the response passes it.
  { name: 'written', to: [FAILING, ENDED] },
  { name: 'ended', to: [] },
])

/** True for what says that an invariant is broken, here or in a connection: then nothing is asked or tried again. */
export function isBroken(error: ProxyError): boolean {
  return error.code === 'INVARIANT_BROKEN' && error.source === 'internal'
}
