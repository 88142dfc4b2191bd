import { type Channel, channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { Places } from '../places.ts'
import { isTrustedProxy, type ProxyProtocolPlan } from '../proxy-protocol/listener-option.ts'
import { clientAddressOf, proxyHeaderOf } from '../proxy-protocol/proxied-sockets.ts'
import { type HeaderReceiver, HeaderReceiving } from '../proxy-protocol/receive-header.ts'
import type { SeldomLog } from '../seldom-log.ts'
import type { ConnectionInfo, ServerApp } from '../server/service.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { ConnectionFilter } from './connection-filter.ts'
import { clientOf } from './listener-limits.ts'

/** What is published on the channel `cirque:connection`. */
export interface ConnectionMessage {
  readonly socket: Socket
  readonly info: ConnectionInfo
}

/** Told of each connection that an app gets, after TLS and the PROXY header; its end is the socket's `close`. */
const connectionChannel: Channel = channel('cirque:connection')

/** The listener of a connection, which is told of its PROXY header, and gets it once it is admitted. */
export interface IntakeEndpoint extends HeaderReceiver {
  readonly isTcp: boolean
  readonly proxyProtocol: ProxyProtocolPlan | undefined
  serve(socket: Socket): void
}

/** Who counts the connections that a {@link ConnectionIntake} serves: this thread, or the main one. */
export interface ConnectionCounts {
  /** Whether the client of this connection is counted here, once it is known. */
  countsClients(endpoint: IntakeEndpoint, socket: Socket): boolean
  /** Counts the connection for a client; calls `then` with whether it may have it, now or later. */
  countClient(socket: Socket, client: string, then: (ok: boolean) => void): void
  /** The connection is closed. */
  closed(socket: Socket): void
  refused(): void
  handshakeFailed(): void
  proxyHeaderFailed(): void
}

/** Where the intake keeps a socket: on the socket, since it is asked for once per connection. */
const PLACE: unique symbol = Symbol('place')

interface PlacedSocket extends Socket {
  [PLACE]?: number
}

/**
 * What becomes of the connections of a service in the thread that serves them: PROXY header, cap per client, filter,
 * TLS, and then the app. It keeps every open one, to cut it at last.
 */
export class ConnectionIntake {
  readonly app: ServerApp
  readonly log: SeldomLog
  counts: ConnectionCounts
  filter: ConnectionFilter | undefined
  readonly #filterTimeoutMs: number
  readonly #sockets: Places<PlacedSocket> = new Places()
  readonly #onClose: (this: Socket) => void
  #lastClosed: PromiseWithResolvers<void> | undefined

  constructor(app: ServerApp, log: SeldomLog, counts: ConnectionCounts, filterTimeoutMs: number) {
    this.app = app
    this.log = log
    this.counts = counts
    this.#filterTimeoutMs = filterTimeoutMs
    const forget = (socket: Socket) => this.#forget(socket)
    // One function for all connections: the emitter passes the socket as `this`.
    this.#onClose = function (this: Socket): void {
      forget(this)
    }
  }

  /** Connections that are open in this thread. */
  get openCount(): number {
    return this.#sockets.size
  }

  /** Resolves when no connection is left; asked when no more will come. */
  whenEmpty(): Promise<void> {
    if (this.#sockets.size === 0) return Promise.resolve()
    this.#lastClosed ??= Promise.withResolvers()
    return this.#lastClosed.promise
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const socket of this.#sockets.values()) socket.destroy()
  }

  /** Takes a connection that is counted. It has an `error` listener. */
  take(socket: PlacedSocket, endpoint: IntakeEndpoint): void {
    socket[PLACE] = this.#sockets.add(socket)
    socket.on('close', this.#onClose)
    const { proxyProtocol, isTcp } = endpoint
    if (proxyProtocol === undefined) this.admit(socket, endpoint)
    else if (isTrustedProxy(proxyProtocol, isTcp ? socket.remoteAddress : undefined)) {
      new HeaderReceiving(socket, proxyProtocol, endpoint)
    } else if (proxyProtocol.required) this.#refuse(socket)
    else this.admit(socket, endpoint)
  }

  /** Its client is known. Runs for every connection: no closure, no promise unless somebody has to be asked. */
  admit(socket: Socket, endpoint: IntakeEndpoint): void {
    if (!this.counts.countsClients(endpoint, socket)) return void this.#filterOne(socket, endpoint)
    const ip = clientAddressOf(socket)
    if (ip !== undefined) {
      this.counts.countClient(socket, clientOf(ip), (ok) => {
        if (socket.destroyed) return
        if (ok) this.#filterOne(socket, endpoint)
        else this.#refuse(socket)
      })
      return
    }
    // No address: on a Unix socket there is none to count; on TCP the peer has reset the connection already.
    if (!endpoint.isTcp || proxyHeaderOf(socket) !== undefined) this.#filterOne(socket, endpoint)
    else this.#refuse(socket)
  }

  /** The app gets the connection. */
  handOver(socket: Socket, info: ConnectionInfo): void {
    if (connectionChannel.hasSubscribers)
      connectionChannel.publish({ socket, info } satisfies ConnectionMessage)
    try {
      this.app.onConnection(socket, info)
    } catch (error) {
      this.log.error('App failed to take a connection', error)
      socket.destroy()
    }
  }

  #filterOne(socket: Socket, endpoint: IntakeEndpoint): void {
    if (this.filter === undefined) endpoint.serve(socket)
    else this.#applyFilter(this.filter, socket, endpoint)
  }

  #applyFilter(filter: ConnectionFilter, socket: Socket, endpoint: IntakeEndpoint): void {
    let verdict: boolean | Promise<boolean>
    try {
      verdict = filter.shouldAccept(clientAddressOf(socket))
    } catch (error) {
      this.log.error('Connection filter failed', error)
      verdict = false
    }
    if (verdict === true) return void endpoint.serve(socket)
    if (verdict === false) return void this.#refuse(socket)
    const timer = setTimeout(() => {
      if (socket.destroyed) return
      this.log.error('Connection filter took too long')
      this.#refuse(socket)
    }, this.#filterTimeoutMs).unref()
    const settle = (accepted: boolean) => {
      clearTimeout(timer)
      if (socket.destroyed) return
      if (accepted) endpoint.serve(socket)
      else this.#refuse(socket)
    }
    Promise.resolve(verdict).then(
      (accepted) => settle(accepted === true),
      (error: unknown) => {
        this.log.error('Connection filter failed', error)
        settle(false)
      },
    )
  }

  #refuse(socket: Socket): void {
    this.counts.refused()
    // A reset, not a close: the refused must not leave us in TIME_WAIT or wait for their FIN.
    cutConnection(socket)
  }

  #forget(socket: PlacedSocket): void {
    if (!this.#sockets.remove(socket[PLACE] ?? -1, socket)) return
    this.counts.closed(socket)
    if (this.#sockets.size === 0) this.#lastClosed?.resolve()
  }
}

/** Takes errors of a socket, from the first moment: a reset must not be an uncaught error. */
export function ignoreError(): void {}
