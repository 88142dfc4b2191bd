import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Address } from '../address.ts'
import { continueAboveTls, startBelowTls } from '../proxy-protocol/below-tls.ts'
import type { ProxyProtocolPlan } from '../proxy-protocol/listener-option.ts'
import { rememberProxyHeader } from '../proxy-protocol/proxied-sockets.ts'
import type { ProxyHeader } from '../proxy-protocol/proxy-header.ts'
import type { ConnectionInfo } from '../server/service.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { TlsAcceptor, TlsReceiver } from '../tls/acceptor.ts'
import { type ConnectionIntake, type IntakeEndpoint, ignoreError } from './connection-intake.ts'
import type { ListenerPlan } from './listener-options.ts'

/** A listener as the thread sees it that serves its connections. */
export class ServingEndpoint implements IntakeEndpoint, TlsReceiver {
  readonly isTcp: boolean
  readonly proxyProtocol: ProxyProtocolPlan | undefined
  readonly #intake: ConnectionIntake
  readonly #acceptor: TlsAcceptor | undefined
  #info: ConnectionInfo

  constructor(
    service: string,
    plan: ListenerPlan,
    acceptor: TlsAcceptor | undefined,
    intake: ConnectionIntake,
  ) {
    this.isTcp = plan.address.kind === 'tcp'
    this.proxyProtocol = plan.proxyProtocol
    this.#intake = intake
    this.#acceptor = acceptor
    this.#info = Object.freeze({ service, address: plan.address, tls: acceptor !== undefined })
  }

  /** Facts of the listener. */
  get info(): ConnectionInfo {
    return this.#info
  }

  /** The address is bound, and its port known. Comes before the first connection. */
  bound(address: Address): void {
    this.#info = Object.freeze({ ...this.#info, address })
  }

  /** Gets ready for handshakes. */
  open(): void {
    this.#acceptor?.open(this, this.#intake.log.logger)
  }

  /** Gives an admitted connection to TLS, or to the app. */
  serve(socket: Socket): void {
    const acceptor = this.#acceptor
    if (acceptor === undefined) return void this.#intake.handOver(socket, this.#info)
    // Who ends its side within the handshake will never complete it: no half-open until then.
    socket.allowHalfOpen = false
    if (this.proxyProtocol === undefined) acceptor.accept(socket)
    else startBelowTls(socket, () => acceptor.accept(socket))
  }

  onProxyHeader(socket: Socket, header: ProxyHeader | undefined): void {
    if (header !== undefined) rememberProxyHeader(socket, header)
    this.#intake.admit(socket, this)
  }

  onProxyHeaderFailed(socket: Socket, reason: string): void {
    this.#intake.counts.proxyHeaderFailed()
    this.#intake.log.logger.debug('PROXY protocol header refused', {
      address: this.#info.address.text,
      remoteAddress: socket.remoteAddress,
      reason,
    })
    cutConnection(socket)
  }

  onSecure(socket: TLSSocket): void {
    this.#acceptor?.counts.completed(socket)
    socket.on('error', ignoreError)
    socket.allowHalfOpen = true
    if (this.proxyProtocol === undefined) this.#intake.handOver(socket, this.#info)
    else if (!continueAboveTls(socket, () => this.#intake.handOver(socket, this.#info))) socket.destroy()
  }

  onHandshakeFailed(error: Error, socket: Socket): void {
    this.#intake.counts.handshakeFailed()
    if (this.#acceptor !== undefined) this.#acceptor.counts.failedCount += 1
    this.#intake.log.logger.debug('TLS handshake failed', { address: this.#info.address.text, error })
    socket.destroy()
  }
}
