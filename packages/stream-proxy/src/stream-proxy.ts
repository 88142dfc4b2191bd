import type { ProxyError } from '@cirque/error'
import type { StreamPeer } from './stream-peer.ts'
import type { StreamSession } from './stream-session.ts'

/**
 * What a TCP proxy does, written by you. Only `upstreamPeer` is required.
 *
 * What a hook throws or rejects with ends its session: a `ProxyError` as it is, anything else as `FILTER_FAILED`, which
 * is also logged.
 */
export interface StreamProxy<Ctx = undefined> {
  /**
   * Makes the context that every other hook gets, at once: a promise is an error. Called once per connection, first.
   * Default: `undefined`.
   */
  newCtx?(): Ctx

  /**
   * Whether to serve this connection. Called once per connection, after TLS. False resets it; what is neither a
   * boolean nor `undefined`, which is true, is an error.
   *
   * A promise is waited for until `filterTimeoutMs`, while the client's bytes wait in its socket.
   */
  connectionFilter?(session: StreamSession<Ctx>, ctx: Ctx): boolean | undefined | Promise<boolean | undefined>

  /**
   * Where to connect. Called once per attempt; `session.triedAddresses` names those that failed.
   *
   * A promise is waited for until `filterTimeoutMs`. A peer without an address, as `balancer.select()` gives it when nobody can serve, ends the session.
   */
  upstreamPeer(session: StreamSession<Ctx>, ctx: Ctx): StreamPeer | Promise<StreamPeer>

  /**
   * Called when no connection could be made. Nothing was sent to the peer. The error's `retry` says whether another
   * attempt follows, and may be changed.
   */
  failToConnect?(session: StreamSession<Ctx>, peer: StreamPeer, error: ProxyError, ctx: Ctx): void

  /** Called once, when the upstream is connected and before any byte is relayed. */
  connectedToUpstream?(session: StreamSession<Ctx>, peer: StreamPeer, ctx: Ctx): void

  /**
   * Called exactly once per session, when both connections are closed.
   *
   * @param error - Why it ended, unless both sides ended in order or a filter refused it. Its `source` tells who.
   */
  logging?(session: StreamSession<Ctx>, error: ProxyError | undefined, ctx: Ctx): void
}
