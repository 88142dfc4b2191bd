import { type Channel, channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import type { Address } from './address.ts'
import { Listener } from './listener.ts'
import { ClientCounts, clientOf } from './listener-limits.ts'
import {
  integer,
  type ListenerConfig,
  planListener,
  rejectUnknown,
  type TcpListenerOptions,
  type UnixListenerOptions,
} from './listener-options.ts'
import { type Logger, silentLogger } from './logger.ts'
import { continueAboveTls, startBelowTls } from './proxy-protocol/below-tls.ts'
import { isTrustedProxy, type ProxyProtocolPlan } from './proxy-protocol/listener-option.ts'
import { clientAddressOf, proxyHeaderOf, rememberProxyHeader } from './proxy-protocol/proxied-sockets.ts'
import { type HeaderReceiver, HeaderReceiving } from './proxy-protocol/receive-header.ts'
import { readFileDescriptorsMax } from './server-runtime.ts'
import type { ConnectionInfo, ExportedListener, ServerApp, Service, ServiceContext } from './service.ts'
import { TlsAcceptor, type TlsReceiver } from './tls/acceptor.ts'
import type { TlsListenerOptions } from './tls/listener-options.ts'

/** Decides about a connection before TLS and before any byte of it is sent to the app, after a PROXY header. */
export interface ConnectionFilter {
  /**
   * Called once per accepted connection, synchronously with the accept. Return false to reset it.
   *
   * A promise is waited for at most `connectionFilterTimeoutMs`, then the connection is refused; meanwhile
   * it counts as open, and at most one read-ahead buffer is taken from it. A throw or rejection refuses.
   *
   * @param remoteAddress - The client's IP, taken from the PROXY protocol header if there was one; `undefined` on a
   *   Unix socket.
   */
  shouldAccept(remoteAddress: string | undefined): boolean | Promise<boolean>
}

/** Options of a {@link ListeningService}. */
export interface ListeningServiceOptions {
  /** Open connections over all listeners of the service, handshakes included; more are reset. Default 20000. */
  readonly connectionsMax?: number
  /**
   * Open connections per client (an IPv4 address or an IPv6 /64); more are reset. Default 0: no cap, since
   * many clients can share one address. Unix sockets are exempt. Behind a PROXY header the client in it counts.
   */
  readonly connectionsPerIpMax?: number
  /** How long an asynchronous connection filter may take, in ms. Default 5000. */
  readonly connectionFilterTimeoutMs?: number
}

/** What happened to a service's connections so far. A snapshot. */
export interface ConnectionCounters {
  /** Handed by the kernel, refused ones included. */
  readonly acceptedCount: number
  /** Reset because of `connectionsMax`, `connectionsPerIpMax` or the connection filter. */
  readonly refusedCount: number
  /** Open now, handshakes included. */
  readonly openCount: number
  /** TLS handshakes that failed or took too long. */
  readonly handshakeFailedCount: number
  /** Errors of accept(2) that the runtime reports. Running out of file descriptors is not among them. */
  readonly acceptErrorCount: number
  /** Reset because their PROXY protocol header was missing, malformed or late. */
  readonly proxyHeaderFailedCount: number
}

/** What is published on the channel `cirque:connection`. */
export interface ConnectionMessage {
  readonly socket: Socket
  readonly info: ConnectionInfo
}

/** Told of each connection that an app gets, after TLS and the PROXY header; its end is the socket's `close`. */
const connectionChannel: Channel = channel('cirque:connection')

const OPTION_KEYS: readonly string[] = ['connectionsMax', 'connectionsPerIpMax', 'connectionFilterTimeoutMs']
const LOG_INTERVAL_MS: number = 1000

interface Endpoint {
  readonly listener: Listener
  readonly acceptor: TlsAcceptor | undefined
}

/**
 * Listens on any number of addresses and hands each connection to its app.
 *
 * On drain it closes the acceptors only, tells the app, and resolves when the last connection has ended and
 * `app.cleanup()` has settled. `destroy()` cuts what is left.
 *
 * @example
 * const echo = new ListeningService('echo', {
 *   onConnection: (socket) => void socket.pipe(socket),
 *   startDraining: () => {},
 * })
 * echo.addTcp('127.0.0.1:7000')
 */
export class ListeningService<A extends ServerApp = ServerApp> implements Service {
  readonly name: string
  readonly app: A
  readonly connectionsMax: number
  readonly #endpoints: Endpoint[] = []
  /** Every open raw socket, and the client it counts for ('' if clients are not counted). */
  readonly #sockets: Map<Socket, string> = new Map()
  readonly #clients: ClientCounts | undefined
  readonly #filterTimeoutMs: number
  readonly #onClose: (this: Socket) => void
  readonly #lastClosed: PromiseWithResolvers<void> = Promise.withResolvers()
  #filter: ConnectionFilter | undefined
  #logger: Logger = silentLogger
  #acceptedCount = 0
  #refusedCount = 0
  #handshakeFailedCount = 0
  #acceptErrorCount = 0
  #proxyHeaderFailedCount = 0
  #lastLogAt = -LOG_INTERVAL_MS
  #isStarted = false
  #isReleased = false
  #drained: Promise<void> | undefined

  /**
   * @throws {TypeError} If the name is empty, the app lacks a method, or an option is unknown.
   * @throws {RangeError} If a number is out of range.
   */
  constructor(name: string, app: A, options: ListeningServiceOptions = {}) {
    if (typeof name !== 'string' || name === '') throw new TypeError('Expected a service name, received none')
    if (typeof app?.onConnection !== 'function' || typeof app.startDraining !== 'function') {
      throw new TypeError(`The app of service "${name}" needs onConnection() and startDraining()`)
    }
    rejectUnknown(options, OPTION_KEYS, `service "${name}"`)
    this.name = name
    this.app = app
    this.connectionsMax = integer('connectionsMax', options.connectionsMax ?? 20_000, 1, 10_000_000)
    const perClient = integer('connectionsPerIpMax', options.connectionsPerIpMax ?? 0, 0, 10_000_000)
    this.#clients = perClient === 0 ? undefined : new ClientCounts(perClient)
    const filterTimeoutMs = options.connectionFilterTimeoutMs ?? 5000
    this.#filterTimeoutMs = integer('connectionFilterTimeoutMs', filterTimeoutMs, 1, 3_600_000)
    const forget = (socket: Socket) => this.#forget(socket)
    // One function for all connections: the emitter passes the socket as `this`.
    this.#onClose = function (this: Socket): void {
      forget(this)
    }
  }

  /** Adds a TCP listener: `host:port` or `[ipv6]:port`; port 0 takes any free one, see {@link endpoints}. */
  addTcp(address: string, options: TcpListenerOptions = {}): this {
    return this.addListener({ address, tcp: options })
  }

  /** Adds a Unix socket at an absolute path. A stale file is replaced, one in use is an error at start. */
  addUnix(path: string, options: UnixListenerOptions = {}): this {
    return this.addListener({ address: `unix:${path}`, unix: options })
  }

  /** Adds a TCP listener with TLS. Files are read and certificates checked now. */
  addTls(address: string, tls: TlsListenerOptions, options: TcpListenerOptions = {}): this {
    // Without this a forgotten argument would make a listener that speaks cleartext.
    if (typeof tls !== 'object' || tls === null) {
      throw new TypeError(`Expected the TLS options of ${address} to be an object, received ${inspect(tls)}`)
    }
    return this.addListener({ address, tls, tcp: options })
  }

  /**
   * Adds a listener of any kind.
   *
   * @throws {TypeError} If the address or an option is wrong, or TLS has no usable certificate.
   * @throws {RangeError} If a number is out of range.
   */
  addListener(config: ListenerConfig): this {
    if (this.#isStarted) throw new Error(`Service "${this.name}" has started and takes no more listeners`)
    rejectUnknown(config, ['address', 'tcp', 'unix', 'tls'], 'the listener')
    const plan = planListener(config)
    const acceptor =
      plan.tls === undefined
        ? undefined
        : new TlsAcceptor(plan.address.text, plan.tls, this.app.alpnProtocols)
    this.#endpoints.push({ listener: new Listener(plan), acceptor })
    return this
  }

  /** Sets the filter of all listeners, whenever they were added; `undefined` accepts everybody. */
  setConnectionFilter(filter: ConnectionFilter | undefined): void {
    if (filter !== undefined && typeof filter.shouldAccept !== 'function') {
      throw new TypeError('A connection filter needs shouldAccept()')
    }
    this.#filter = filter
  }

  /** The addresses that are bound now, with real ports, in the order they were added. */
  endpoints(): readonly Address[] {
    return this.#endpoints
      .map((endpoint) => endpoint.listener.address)
      .filter((address) => address !== undefined)
  }

  /** A snapshot of the counters. */
  get counters(): ConnectionCounters {
    return {
      acceptedCount: this.#acceptedCount,
      refusedCount: this.#refusedCount,
      openCount: this.#sockets.size,
      handshakeFailedCount: this.#handshakeFailedCount,
      acceptErrorCount: this.#acceptErrorCount,
      proxyHeaderFailedCount: this.#proxyHeaderFailedCount,
    }
  }

  /** Binds every listener in order. Ready when all accept; if one cannot, none is left open. */
  async start(context: ServiceContext): Promise<void> {
    if (this.#isStarted) throw new Error(`Service "${this.name}" was started twice`)
    if (this.#endpoints.length === 0) throw new Error(`Service "${this.name}" has no listener`)
    this.#isStarted = true
    this.#logger = context.logger
    this.#warnOfFileLimit()
    try {
      for (const endpoint of this.#endpoints) await this.#open(endpoint, context)
    } catch (error) {
      // What inherited listeners have accepted is for `drain()` to finish: the predecessor would have served it.
      if (context.inherited === undefined) this.destroy()
      else this.#closeListeners()
      throw error
    }
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain(): Promise<void> {
    this.#closeListeners()
    try {
      this.app.startDraining()
    } finally {
      if (this.#sockets.size > 0) await this.#lastClosed.promise
      await this.app.cleanup?.()
    }
  }

  exportListeners(): ExportedListener[] {
    return this.#endpoints
      .map(({ listener }) => listener.exported(this.#keyOf(listener)))
      .filter((listener) => listener !== undefined)
  }

  /** Closes the acceptors, leaves socket files to the successor, and has the app say goodbye to its clients. */
  releaseListeners(): Promise<void> {
    this.#isReleased = true
    for (const { listener, acceptor } of this.#endpoints) {
      listener.release()
      acceptor?.close()
    }
    try {
      this.app.announceDraining?.()
    } catch (error) {
      this.#logger.error('App failed to announce the drain', { service: this.name, error })
    }
    return this.#sockets.size === 0 ? Promise.resolve() : this.#lastClosed.promise
  }

  /** TLS ticket keys by listener, and what the app exports. */
  exportState(): unknown {
    const tickets: [string, string][] = []
    for (const { listener, acceptor } of this.#endpoints) {
      const keys = acceptor?.exportTicketKeys()
      if (keys !== undefined) tickets.push([this.#keyOf(listener), keys])
    }
    const app = this.app.exportState?.()
    return tickets.length === 0 && app === undefined ? undefined : { tickets, app }
  }

  importState(state: unknown): void {
    const { tickets, app } = state as { tickets?: unknown; app?: unknown }
    const keys = new Map(Array.isArray(tickets) ? (tickets as [string, string][]) : [])
    for (const { listener, acceptor } of this.#endpoints) {
      const own = keys.get(this.#keyOf(listener))
      if (own !== undefined) acceptor?.importTicketKeys(own)
    }
    if (app !== undefined) this.app.importState?.(app)
  }

  /** Has the app reload; certificates from files are looked after as they change, without being asked. */
  async reload(): Promise<void> {
    await this.app.reload?.()
  }

  /** What a successor knows a listener by. Port 0 says too little: there the service's name goes with it. */
  #keyOf(listener: Listener): string {
    const { address } = listener.plan
    return address.kind === 'tcp' && address.port === 0 ? `${address.text} of ${this.name}` : address.text
  }

  destroy(): void {
    this.#closeListeners()
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  /** Out of descriptors, libuv accepts and closes without telling anybody; a cap below that is counted. */
  #warnOfFileLimit(): void {
    const openFilesMax = readFileDescriptorsMax()
    if (openFilesMax === undefined || openFilesMax > this.connectionsMax) return
    this.#logger.warn(
      'connectionsMax is not below the limit of open files, where connections are lost uncounted',
      {
        service: this.name,
        connectionsMax: this.connectionsMax,
        openFilesMax,
      },
    )
  }

  #closeListeners(): void {
    for (const { listener, acceptor } of this.#endpoints) {
      listener.close()
      acceptor?.close()
    }
  }

  async #open(endpoint: Endpoint, context: ServiceContext): Promise<void> {
    const { listener, acceptor } = endpoint
    const info: { service: string; address: Address; tls: boolean } = {
      service: this.name,
      address: listener.plan.address,
      tls: acceptor !== undefined,
    }
    const isTcp = listener.plan.address.kind === 'tcp'
    const { proxyProtocol } = listener.plan
    const serve =
      acceptor === undefined
        ? (socket: Socket) => this.#handOver(socket, info)
        : (socket: Socket) => {
            // Who ends its side within the handshake will never complete it: no half-open until then.
            socket.allowHalfOpen = false
            if (proxyProtocol === undefined) acceptor.accept(socket)
            else startBelowTls(socket, () => acceptor.accept(socket))
          }
    if (acceptor !== undefined) this.#openAcceptor(acceptor, info, proxyProtocol !== undefined)
    const receiver: HeaderReceiver = {
      onProxyHeader: (socket, header) => {
        if (header !== undefined) rememberProxyHeader(socket, header)
        this.#admit(socket, isTcp, serve)
      },
      onProxyHeaderFailed: (socket, reason) => this.#proxyHeaderFailed(socket, isTcp, reason, info.address),
    }
    const onConnection = (socket: Socket) => {
      if (!this.#register(socket, isTcp)) return
      if (proxyProtocol === undefined) this.#admit(socket, isTcp, serve)
      else this.#receiveHeader(socket, isTcp, proxyProtocol, receiver)
    }
    const onError = (error: Error) => this.#acceptFailed(error, info.address)
    listener.onDropped = () => {
      this.#acceptedCount += 1
      this.#refusedCount += 1
      this.#logSeldom('Connections are refused: connectionsMax of the listener is reached', undefined)
    }
    const inherited = await context.inherited?.take(this.#keyOf(listener))
    // 'connection' events come from later turns of the loop, so `info` has its real port by then.
    info.address =
      inherited === undefined
        ? await listener.open(context.logger, context.shutdown, onConnection, onError)
        : await listener.adopt(
            inherited,
            (address) => {
              info.address = address
            },
            onConnection,
            onError,
          )
    Object.freeze(info)
    context.logger.info('Listening', { service: this.name, address: info.address.text, tls: info.tls })
  }

  #openAcceptor(acceptor: TlsAcceptor, info: ConnectionInfo, isProxied: boolean): void {
    const receiver: TlsReceiver = {
      onSecure: (socket) => {
        socket.on('error', ignore)
        socket.allowHalfOpen = true
        if (!isProxied) this.#handOver(socket, info)
        else if (!continueAboveTls(socket, () => this.#handOver(socket, info))) socket.destroy()
      },
      onHandshakeFailed: (error, socket) => {
        this.#handshakeFailedCount += 1
        this.#logger.debug('TLS handshake failed', { address: info.address.text, error })
        socket.destroy()
      },
    }
    acceptor.open(receiver, this.#logger)
  }

  /** Counts a connection as open; false, and the connection reset, if there are too many. */
  #register(socket: Socket, isTcp: boolean): boolean {
    this.#acceptedCount += 1
    socket.on('error', ignore) // from the first moment: a reset must not be an uncaught error
    if (this.#sockets.size >= this.connectionsMax) {
      this.#logSeldom('Connections are refused: connectionsMax is reached', undefined)
      this.#refuse(socket, isTcp)
      return false
    }
    this.#sockets.set(socket, '')
    socket.on('close', this.#onClose)
    return true
  }

  #receiveHeader(socket: Socket, isTcp: boolean, plan: ProxyProtocolPlan, receiver: HeaderReceiver): void {
    if (isTrustedProxy(plan, isTcp ? socket.remoteAddress : undefined)) {
      new HeaderReceiving(socket, plan, receiver)
    } else if (plan.required) this.#refuse(socket, isTcp)
    else receiver.onProxyHeader(socket, undefined)
  }

  #proxyHeaderFailed(socket: Socket, isTcp: boolean, reason: string, address: Address): void {
    this.#proxyHeaderFailedCount += 1
    this.#logger.debug('PROXY protocol header refused', {
      address: address.text,
      remoteAddress: socket.remoteAddress,
      reason,
    })
    this.#cut(socket, isTcp)
  }

  /** Runs for every connection: no closure, no promise unless the filter returns one. */
  #admit(socket: Socket, isTcp: boolean, serve: (socket: Socket) => void): void {
    if (this.#clients !== undefined && !this.#countClient(socket, isTcp)) this.#refuse(socket, isTcp)
    else if (this.#filter === undefined) serve(socket)
    else this.#applyFilter(this.#filter, socket, isTcp, serve)
  }

  /** Counts the connection for its client, or returns false if that has its share. */
  #countClient(socket: Socket, isTcp: boolean): boolean {
    const ip = clientAddressOf(socket)
    // No address: on a Unix socket there is none to count; on TCP the peer has reset the connection already.
    if (ip === undefined) return !isTcp || proxyHeaderOf(socket) !== undefined
    const client = clientOf(ip)
    if (this.#clients?.tryAcquire(client) === false) return false
    this.#sockets.set(socket, client)
    return true
  }

  #applyFilter(
    filter: ConnectionFilter,
    socket: Socket,
    isTcp: boolean,
    serve: (socket: Socket) => void,
  ): void {
    let verdict: boolean | Promise<boolean>
    try {
      verdict = filter.shouldAccept(clientAddressOf(socket))
    } catch (error) {
      this.#logSeldom('Connection filter failed', error)
      verdict = false
    }
    if (verdict === true) return void serve(socket)
    if (verdict === false) return void this.#refuse(socket, isTcp)
    const timer = setTimeout(() => {
      if (socket.destroyed) return
      this.#logSeldom('Connection filter took too long', undefined)
      this.#refuse(socket, isTcp)
    }, this.#filterTimeoutMs).unref()
    const settle = (accepted: boolean) => {
      clearTimeout(timer)
      if (socket.destroyed) return
      if (accepted) serve(socket)
      else this.#refuse(socket, isTcp)
    }
    Promise.resolve(verdict).then(
      (accepted) => settle(accepted === true),
      (error: unknown) => {
        this.#logSeldom('Connection filter failed', error)
        settle(false)
      },
    )
  }

  /** A reset, not a close: the refused must not leave us in TIME_WAIT or wait for their FIN. */
  #refuse(socket: Socket, isTcp: boolean): void {
    this.#refusedCount += 1
    this.#cut(socket, isTcp)
  }

  #cut(socket: Socket, isTcp: boolean): void {
    if (isTcp) socket.resetAndDestroy()
    else socket.destroy()
  }

  #handOver(socket: Socket, info: ConnectionInfo): void {
    if (connectionChannel.hasSubscribers)
      connectionChannel.publish({ socket, info } satisfies ConnectionMessage)
    try {
      this.app.onConnection(socket, info)
    } catch (error) {
      this.#logSeldom('App failed to take a connection', error)
      socket.destroy()
    }
  }

  #forget(socket: Socket): void {
    const client = this.#sockets.get(socket)
    if (client === undefined) return
    this.#sockets.delete(socket)
    if (client !== '') this.#clients?.release(client)
    if (this.#sockets.size > 0) return
    if (this.#drained !== undefined || this.#isReleased) this.#lastClosed.resolve()
  }

  #acceptFailed(error: Error, address: Address): void {
    this.#acceptErrorCount += 1
    this.#logSeldom(`Cannot accept on ${address.text}`, error)
  }

  /** At most one such line per second: what a peer can cause at will must not fill the log. */
  #logSeldom(message: string, error: unknown): void {
    const now = performance.now()
    if (now - this.#lastLogAt < LOG_INTERVAL_MS) return
    this.#lastLogAt = now
    this.#logger.error(message, { service: this.name, ...(error === undefined ? {} : { error }) })
  }
}

function ignore(): void {}
