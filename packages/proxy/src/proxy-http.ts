import type { ConnectionDigest, HttpModules, HttpPeer } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import type { Session } from './session.ts'

/** A hook's answer: at once, or as a promise. Only a promise is waited for. */
export type Awaitable<T> = T | Promise<T>

/** A hook that has nothing to say needs no `return`. */
// biome-ignore lint/suspicious/noConfusingVoidType: TypeScript infers void for a method without a return
export type OrNothing<T> = T | undefined | void

/**
 * What a body filter makes of a chunk: `undefined` leaves it as it is, a Buffer replaces it, `null` drops
 * it. To slow a body down, answer with a promise and settle it later: nothing overtakes it.
 */
export type BodyFilterResult = OrNothing<Buffer | null>

/** What became of a request that could not be proxied. */
export interface FailToProxy {
  /** The status that was or would have been written; 0 when the client is gone. */
  readonly status: number
  /**
   * Whether the client's connection may go on after the answer that the proxy writes; honoured only before a peer
   * was chosen. Default false. After an answer of your own it goes on unless you call `session.disableKeepAlive()`.
   */
  readonly canReuseDownstream?: boolean
}

/** Facts of a connection that carries an attempt. */
export interface UpstreamConnection {
  /** True when it came from the pool. */
  readonly reused: boolean
  /** Addresses and TLS facts; asks the socket. */
  digest(): ConnectionDigest
}

/**
 * A proxy's logic: one method for each phase of a request. Only `upstreamPeer` is required; a phase that is
 * not implemented costs nothing.
 *
 * Each hook may be synchronous or return a promise; the exchange waits for promises only. What a hook
 * throws ends the request: a `ProxyError` as it says, anything else as `FILTER_FAILED` with 500. `ctx` is
 * what `newCtx` made for this request; it is `undefined` without `newCtx`.
 *
 * The phases run in the order of `PHASES`; `docs/user-guide/phases.md` has the chart.
 */
export interface ProxyHttp<Ctx = undefined> {
  /**
   * Adds the modules that requests and responses pass, such as `responseCompression()`. Called once, when the
   * proxy is made; what it throws, that throws. There are none by default: a proxy without modules pays
   * nothing for them.
   */
  initDownstreamModules?(modules: HttpModules): void

  /**
   * Adds the modules that responses of upstreams pass before any hook sees them, such as
   * `responseCompression({ decompress: 'always' })`. Called once, when the proxy is made; what it throws, that throws.
   * A module that filters requests is refused. Default: none.
   */
  initUpstreamModules?(modules: HttpModules): void

  /**
   * Makes the request's context, at once. Called once per request, first of all. When it throws, the request
   * ends with 500 and no other hook is called.
   */
  newCtx?(): Ctx

  /**
   * Called once per request that follows another on the same HTTP/1 connection for which
   * `persistConnectionContext` gave something.
   */
  onConnectionReuse?(session: Session, previous: unknown, ctx: Ctx): void

  /**
   * Called once per request, before everything else: the place to tell its modules what to do. An error goes to
   * `failToProxy`.
   */
  earlyRequestFilter?(session: Session, ctx: Ctx): Awaitable<void>

  /**
   * Called once per request: access control, rate limits, own answers.
   *
   * @returns True when the response was written; the request ends with `logging`.
   */
  requestFilter?(session: Session, ctx: Ctx): Awaitable<OrNothing<boolean>>

  /**
   * Called once per request that is to go upstream, after the place of the cache.
   *
   * @returns False to decline: the request ends, with 502 unless a response was written.
   */
  proxyUpstreamFilter?(session: Session, ctx: Ctx): Awaitable<OrNothing<boolean>>

  /**
   * Chooses the peer. Called once per attempt, so that a retry may go elsewhere, and again, up to 8 times a
   * request, when it gave a new peer with an address that could not be connected to for this request. A peer
   * made of a lease (`new HttpPeer(balancer.acquire())`) is released when its attempt has ended.
   */
  upstreamPeer(session: Session, ctx: Ctx): Awaitable<HttpPeer>

  /**
   * Called when no connection to `peer` could be made. The error's `retry` says what happens next and may be
   * changed; nothing was sent yet.
   *
   * @returns The error to go on with; by default the same.
   */
  failToConnect?(
    session: Session,
    peer: HttpPeer,
    error: ProxyError,
    ctx: Ctx,
  ): Awaitable<OrNothing<ProxyError>>

  /** Called once per attempt with a connection, before anything is sent on it. */
  connectedToUpstream?(
    session: Session,
    peer: HttpPeer,
    connection: UpstreamConnection,
    ctx: Ctx,
  ): Awaitable<void>

  /**
   * Called once per attempt with a copy of the request, hop-by-hop fields removed. Edits change what is
   * sent, not `session.request`.
   */
  upstreamRequestFilter?(session: Session, request: RequestHeader, ctx: Ctx): Awaitable<void>

  /**
   * Called for each chunk of the request's body, on every attempt anew, and once with `null` and
   * `endOfStream` at the end when the last chunk was not marked so.
   */
  requestBodyFilter?(
    session: Session,
    chunk: Buffer | null,
    endOfStream: boolean,
    ctx: Ctx,
  ): Awaitable<BodyFilterResult>

  /**
   * Called once per attempt with the final head as the upstream sent it, before the modules of `initUpstreamModules`
   * see it, and not without any: the place to tell `session.upstreamModules` what to do. Answers at once.
   */
  adjustUpstreamModules?(session: Session, response: ResponseHeader, ctx: Ctx): void

  /** Called for each response head of an upstream, 1xx included; sees what a cache would store. */
  upstreamResponseFilter?(session: Session, response: ResponseHeader, ctx: Ctx): Awaitable<void>

  /** Called for each response head on its way to the client, 1xx included; its edits are never cached. */
  responseFilter?(session: Session, response: ResponseHeader, ctx: Ctx): Awaitable<void>

  /** Called for each chunk of the response's body as the upstream sent it; see `requestBodyFilter`. */
  upstreamResponseBodyFilter?(
    session: Session,
    chunk: Buffer | null,
    endOfStream: boolean,
    ctx: Ctx,
  ): Awaitable<BodyFilterResult>

  /** Called for each chunk of the response's body on its way to the client; see `requestBodyFilter`. */
  responseBodyFilter?(
    session: Session,
    chunk: Buffer | null,
    endOfStream: boolean,
    ctx: Ctx,
  ): Awaitable<BodyFilterResult>

  /** Called with the response's trailers, flat `[name, value, …]`, when the upstream sent some; edit in place. */
  upstreamResponseTrailerFilter?(session: Session, trailers: string[], ctx: Ctx): Awaitable<void>

  /**
   * Called with the trailers on their way to the client.
   *
   * @returns Bytes that go out as the last of the body, in place of the trailers.
   */
  responseTrailerFilter?(session: Session, trailers: string[], ctx: Ctx): Awaitable<OrNothing<Buffer>>

  /**
   * Called when an attempt failed after its connection stood. The error's `retry` may be changed; a retry
   * still happens only where it is provably harmless.
   *
   * @param reused - Whether the connection came from the pool.
   * @returns The error to go on with; by default the same.
   */
  errorWhileProxy?(
    session: Session,
    peer: HttpPeer,
    error: ProxyError,
    reused: boolean,
    ctx: Ctx,
  ): OrNothing<ProxyError>

  /**
   * Called once when a request has failed for good and nothing of a final response was written. The default
   * writes an empty response with the error's status.
   *
   * @returns What was done; write the response yourself, or leave it to the proxy, which writes `status`.
   */
  failToProxy?(session: Session, error: ProxyError, ctx: Ctx): Awaitable<OrNothing<FailToProxy>>

  /** Called once per failed request: true keeps the error out of the log. */
  suppressErrorLog?(session: Session, error: ProxyError, ctx: Ctx): boolean

  /** A few words that name the request in the error log. Default: method, path and host. */
  requestSummary?(session: Session, ctx: Ctx): string

  /**
   * Called exactly once per request that got a context, last of all: access logs, metrics. A promise is not
   * waited for; what it rejects with is logged.
   */
  logging?(session: Session, error: ProxyError | undefined, ctx: Ctx): Awaitable<void>

  /**
   * Called right after `logging` when the response is complete; what it gives goes to `onConnectionReuse` of the
   * connection's next request, and is dropped when there is none. HTTP/1 only.
   */
  persistConnectionContext?(session: Session, ctx: Ctx): unknown
}
