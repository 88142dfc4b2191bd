import {
  type ClientSession,
  type ConnectHandler,
  HttpPeer,
  type PendingConnect,
  type ServerSession,
} from '@cirque/core'
import { type ProxyError, peerError } from '@cirque/error'
import type { RequestHeader } from '@cirque/http'
import type { ConnectTunnels } from '../connect-tunnels.ts'
import { hookError, isPromise, judgedError } from '../hooks/hook-answers.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { Attempt } from '../record.ts'
import { FailedPeers } from '../retry/failed-peers.ts'
import type { Session } from '../session.ts'
import type { ExchangeHost } from './exchange-host.ts'
import { CHOOSING, CONNECTING, type ExchangeState } from './exchange-states.ts'
import { PeerLease } from './peer-lease.ts'
import { buildUpstreamRequest, wantsUpgrade } from './upstream-request.ts'

/** The exchange, as the phases of an attempt see it. */
export interface AttemptPhasesOwner<Ctx> extends ConnectHandler {
  readonly proxy: ExchangeHost<Ctx>
  readonly app: ProxyHttp<Ctx>
  readonly session: Session
  readonly ctx: Ctx
  readonly downstream: ServerSession
  readonly state: ExchangeState
  /** Of this attempt, once it is chosen. */
  readonly peer: HttpPeer | null
  lease: PeerLease | null
  pending: PendingConnect | null
  upgrade: boolean
  failedPeers: FailedPeers | null
  become(next: ExchangeState): boolean
  invoke<T>(phase: string, hook: () => T | Promise<T>, next: (value: T) => void): void
  wait<T>(result: PromiseLike<T>, phase: string, next: (value: T) => void, unheard?: (value: T) => void): void
  /** This attempt is to go to `peer`. */
  usePeer(peer: HttpPeer): void
  /** Tells whoever chose the peer how it went; without an attempt, that it was not used. */
  releaseLease(attempt: Attempt | null): void
  /** Shows observers what is about to be sent. */
  observeRequest(request: RequestHeader): void
  /** The head is ready to go. */
  sendRequest(request: RequestHeader): void
  attemptFailed(error: ProxyError): void
  fail(error: ProxyError): void
}

/** An attempt's way from the choice of its peer to the request's head on its way, phase by phase. */
export function choosePeer<Ctx>(exchange: AttemptPhasesOwner<Ctx>): void {
  const { app, session, ctx } = exchange
  if (session.request.method === 'CONNECT') {
    connectTunnel(exchange)
    return
  }
  let peer: HttpPeer | Promise<HttpPeer>
  try {
    peer = app.upstreamPeer(session, ctx)
  } catch (error) {
    exchange.attemptFailed(hookError(error, 'upstreamPeer'))
    return
  }
  if (isPromise(peer)) {
    const chosen = (peer: HttpPeer) => connect(exchange, peer)
    exchange.wait(peer, 'upstreamPeer', chosen, giveBackUnused)
  } else if (exchange.state === CHOOSING) connect(exchange, peer)
  else giveBackUnused(peer)
}

/** The request was given up while its peer was being chosen: whoever chose it must not count it as in use. */
function giveBackUnused(peer: HttpPeer): void {
  if (peer instanceof HttpPeer && peer.origin !== undefined) PeerLease.of(peer.origin)?.giveBack()
}

/** The client has chosen the peer: it gets a tunnel to there, if the list of the proxy names it. */
function connectTunnel<Ctx>(exchange: AttemptPhasesOwner<Ctx>): void {
  let peer: HttpPeer
  try {
    peer = (exchange.proxy.tunnels as ConnectTunnels).peerFor(exchange.session.request.target)
  } catch (error) {
    exchange.attemptFailed(hookError(error, 'connect'))
    return
  }
  exchange.usePeer(peer)
  if (exchange.become(CONNECTING)) exchange.pending = exchange.proxy.connector.connectTunnel(peer, exchange)
}

function connect<Ctx>(exchange: AttemptPhasesOwner<Ctx>, peer: HttpPeer): void {
  if (!(peer instanceof HttpPeer)) {
    const given =
      peer === undefined ? 'undefined; when nobody is there, give new HttpPeer(undefined)' : typeof peer
    exchange.fail(
      hookError(new TypeError(`upstreamPeer must give an HttpPeer, not ${given}`), 'upstreamPeer'),
    )
    return
  }
  exchange.usePeer(peer)
  if (peer.origin !== undefined) exchange.lease = PeerLease.of(peer.origin)
  if (peer.address === undefined) {
    exchange.attemptFailed(peerError('NO_PEER', 'internal', 'No peer to send the request to'))
    return
  }
  if (exchange.failedPeers?.passesOver(peer) === true) {
    exchange.releaseLease(null)
    choosePeer(exchange)
    return
  }
  const { connector } = exchange.proxy
  exchange.upgrade = wantsUpgrade(exchange.downstream)
  const idle = connector.acquire(peer, exchange.upgrade)
  if (idle !== null) exchange.onConnected(idle)
  else if (exchange.become(CONNECTING)) {
    exchange.pending = connector.connect(peer, exchange, exchange.upgrade)
  }
}

/** The peer could not be connected to: `failToConnect` says what to make of it. */
export function judgeConnectError<Ctx>(exchange: AttemptPhasesOwner<Ctx>, error: ProxyError): void {
  const { app, session, ctx } = exchange
  const peer = exchange.peer as HttpPeer
  exchange.failedPeers ??= new FailedPeers()
  exchange.failedPeers.add(peer)
  if (app.failToConnect === undefined) exchange.attemptFailed(error)
  else {
    exchange.invoke(
      'failToConnect',
      () => app.failToConnect?.(session, peer, error, ctx),
      (judged) => exchange.attemptFailed(judgedError(judged, error, 'failToConnect')),
    )
  }
}

/** A connection stands: what follows is the request's head. */
export function useConnection<Ctx>(exchange: AttemptPhasesOwner<Ctx>, upstream: ClientSession): void {
  const { app, session, ctx } = exchange
  if (app.connectedToUpstream === undefined) prepareRequest(exchange)
  else {
    exchange.invoke(
      'connectedToUpstream',
      () => app.connectedToUpstream?.(session, exchange.peer as HttpPeer, upstream, ctx),
      () => prepareRequest(exchange),
    )
  }
}

function prepareRequest<Ctx>(exchange: AttemptPhasesOwner<Ctx>): void {
  const { app, session, ctx } = exchange
  if (session.request.method === 'CONNECT') {
    // The peer is told nothing: the connection is all that was asked for.
    exchange.upgrade = true
    exchange.sendRequest(session.request)
    return
  }
  const request = buildUpstreamRequest(exchange.downstream, exchange.peer as HttpPeer, exchange.upgrade)
  try {
    exchange.proxy.forwarding?.apply(request, session)
  } catch (error) {
    exchange.fail(hookError(error, 'forwarding'))
    return
  }
  exchange.observeRequest(request)
  if (app.upstreamRequestFilter === undefined) exchange.sendRequest(request)
  else {
    exchange.invoke(
      'upstreamRequestFilter',
      () => app.upstreamRequestFilter?.(session, request, ctx),
      () => exchange.sendRequest(request),
    )
  }
}
