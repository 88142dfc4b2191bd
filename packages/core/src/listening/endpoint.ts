import type { Socket } from 'node:net'
import type { Address } from '../address.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineProxyProtocol } from '../doctor/listening.ts'
import type { SeldomLog } from '../seldom-log.ts'
import type { ExportedListener, InheritedListeners, ServiceContext } from '../server/service.ts'
import { cutConnection } from '../sockets/cut-connection.ts'
import type { ServiceDispatch } from '../threads/service-dispatch.ts'
import { TransferEndpoint } from '../threads/transfer-endpoint.ts'
import { TlsAcceptor } from '../tls/acceptor.ts'
import type { Admission } from './admission.ts'
import { type ConnectionIntake, ignoreError } from './connection-intake.ts'
import { Listener } from './listener.ts'
import { completePlan, type ListenerPlan } from './listener-options.ts'
import { ListenerParts } from './listener-parts.ts'
import { ServingEndpoint } from './serving-endpoint.ts'

/** What an endpoint needs of its service. */
export interface EndpointHost {
  readonly name: string
  readonly admission: Admission
  readonly intake: ConnectionIntake
  readonly log: SeldomLog
}

/**
 * One address of a listening service. Where workers serve, the main thread opens it and sends them what it accepts;
 * a worker's own is never opened, and only serves.
 */
export class Endpoint {
  readonly listener: Listener
  readonly acceptor: TlsAcceptor | undefined
  readonly serving: ServingEndpoint
  /** The sockets of its address, once it is open; undefined for a Unix socket. */
  parts: ListenerParts | undefined
  readonly #host: EndpointHost

  /** @throws {TypeError} If TLS has no usable certificate. */
  constructor(host: EndpointHost, plan: ListenerPlan, alpnProtocols: readonly string[] | undefined) {
    const { address, tls } = plan
    this.#host = host
    this.listener = new Listener(plan)
    this.acceptor = tls === undefined ? undefined : new TlsAcceptor(address.text, tls, alpnProtocols)
    this.serving = new ServingEndpoint(host.name, plan, this.acceptor, host.intake)
  }

  get isTcp(): boolean {
    return this.listener.plan.address.kind === 'tcp'
  }

  /** What a successor knows it by. Port 0 says too little: there the service's name goes with it. */
  get key(): string {
    const { address } = this.listener.plan
    return address.kind === 'tcp' && address.port === 0
      ? `${address.text} of ${this.#host.name}`
      : address.text
  }

  /** Takes over what a configuration says where its options say nothing. */
  configure(configuration: ServerConfiguration): void {
    this.listener.plan = completePlan(this.listener.plan, configuration)
  }

  /** What an operator should change. */
  examine(nowMs: number): DoctorFinding[] {
    const { address, proxyProtocol } = this.listener.plan
    const trustsAll = proxyProtocol !== undefined && proxyProtocol.trusted === undefined
    return [...examineProxyProtocol(address.text, trustsAll), ...(this.acceptor?.examine(nowMs) ?? [])]
  }

  /**
   * Binds the address, or adopts the socket of a predecessor.
   *
   * @param index - Its place in the service.
   * @param workers - Where connections of TCP go; undefined if this thread serves them.
   * @throws {Error} If it cannot.
   */
  async open(index: number, context: ServiceContext, workers: ServiceDispatch | undefined): Promise<void> {
    const { listener, serving, isTcp } = this
    const { name, admission, log } = this.#host
    const dispatch = isTcp ? workers : undefined
    let onConnection = (socket: Socket) => this.#accept(socket)
    if (dispatch === undefined) serving.open()
    else {
      const transfer = new TransferEndpoint(index, listener.plan, admission, dispatch, log)
      listener.transfers = true
      onConnection = (socket) => transfer.accept(socket)
    }
    const onError = (error: Error) => this.#acceptFailed(error)
    listener.onDropped = () => {
      admission.acceptedCount += 1
      admission.refusedCount += 1
      log.error('Connections are refused: connectionsMax of the listener is reached')
    }
    const onBound = (address: Address) => {
      serving.bound(address)
      dispatch?.listening(index, address.text)
    }
    const inherited = await context.inherited?.take(this.key)
    // 'connection' events come from later turns of the loop, so the real port is known by then.
    if (inherited !== undefined) await listener.adopt(inherited, onBound, onConnection, onError)
    else onBound(await listener.open(context.logger, context.shutdown, onConnection, onError))
    if (isTcp) this.parts = new ListenerParts(index, listener, { onConnection, onError }, dispatch, context)
    const { address, tls } = serving.info
    context.logger.info('Listening', { service: name, address: address.text, tls })
  }

  /** Opens what sockets its address has besides the first. */
  async complete(inherited: InheritedListeners | undefined): Promise<void> {
    await this.parts?.complete(this.key, inherited)
  }

  /** What a successor takes over. */
  exported(): ExportedListener[] {
    if (this.parts !== undefined) return this.parts.exported(this.key)
    const exported = this.listener.exported(this.key)
    return exported === undefined ? [] : [exported]
  }

  /** Accepts no longer; a successor goes on with a socket file. */
  release(): void {
    this.parts?.close()
    this.listener.release()
    this.acceptor?.close()
  }

  /** Accepts no longer, and leaves no socket file. */
  close(): void {
    this.parts?.close()
    this.listener.close()
    this.acceptor?.close()
  }

  /** Counts a connection as open and takes it, or resets it if there are too many. */
  #accept(socket: Socket): void {
    const { admission, intake, log } = this.#host
    admission.acceptedCount += 1
    socket.on('error', ignoreError)
    if (admission.tryOpen()) return void intake.take(socket, this.serving)
    log.error('Connections are refused: connectionsMax is reached')
    admission.refusedCount += 1
    cutConnection(socket)
  }

  #acceptFailed(error: Error): void {
    const { admission, log } = this.#host
    admission.acceptErrorCount += 1
    log.error(`Cannot accept on ${this.serving.info.address.text}`, error)
  }
}
