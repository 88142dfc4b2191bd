import { createSocket, type RemoteInfo, Socket } from 'node:dgram'
import {
  type Address,
  DnsCache,
  datagramDescriptor,
  type ExportedListener,
  type InheritedListener,
  type Logger,
  type PeerAddress,
  Places,
  parseAddress,
  type Service,
  type ServiceContext,
  silentLogger,
  stopReceiving,
} from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import { integerIn, isPromise, onlyKeys, TIMEOUT_MS_MAX, typed } from './check.ts'
import type { UdpListenerOptions, UdpProxy, UdpProxyOptions, UdpProxyStats } from './udp-proxy-options.ts'
import { UdpSession, type UdpSessionHost } from './udp-session.ts'

const KEYS: readonly string[] = [
  'name',
  'sessionsMax',
  'idleTimeoutMs',
  'drainIdleTimeoutMs',
  'responsesPerDatagram',
  'pendingMax',
  'pendingBytesMax',
  'sendQueueBytesMax',
  'dns',
]
const LISTENER_KEYS: readonly string[] = ['ipv6Only', 'reusePort', 'receiveBufferBytes']

interface UdpListener {
  readonly wanted: Address & { readonly kind: 'tcp' }
  readonly options: UdpListenerOptions
  /** Where the session of a client's address is. */
  readonly places: Map<string, number>
  readonly sessions: Places<UdpSession>
  socket: Socket | null
  bound: Address | undefined
}

/** A service that relays datagrams, each client's through a socket of its own. */
export class UdpProxyService implements Service, UdpSessionHost {
  readonly name: string
  /** @internal */
  readonly dns: DnsCache
  /** @internal */
  readonly pendingMax: number
  /** @internal */
  readonly responsesPerDatagram: number
  readonly #app: UdpProxy
  readonly #sessionsMax: number
  readonly #idleTimeoutMs: number
  readonly #drainIdleTimeoutMs: number
  readonly #sendQueueBytesMax: number
  readonly #pendingBytesMax: number
  #pendingBytes = 0
  readonly #listeners: UdpListener[] = []
  readonly #counts = { sessions: 0, open: 0, refused: 0, failed: 0, dropped: 0 }
  readonly #traffic = {
    datagramsFromClients: 0,
    datagramsFromUpstreams: 0,
    bytesFromClients: 0,
    bytesFromUpstreams: 0,
  }
  readonly #empty: PromiseWithResolvers<void> = Promise.withResolvers()
  #logger: Logger = silentLogger
  #started = false
  #draining = false

  /** Use {@link udpProxyService}. */
  constructor(app: UdpProxy, options: UdpProxyOptions) {
    onlyKeys('the UDP proxy', options, KEYS)
    typed('upstreamPeer', app?.upstreamPeer, 'function')
    if (app.clientFilter !== undefined) typed('clientFilter', app.clientFilter, 'function')
    if (app.logging !== undefined) typed('logging', app.logging, 'function')
    const { sessionsMax = 10_000, idleTimeoutMs = 60_000, drainIdleTimeoutMs = 5_000 } = options
    const { responsesPerDatagram = 0, pendingMax = 16, sendQueueBytesMax = 1_048_576 } = options
    const { pendingBytesMax = 16_777_216 } = options
    this.#app = app
    this.name = options.name ?? 'UDP proxy'
    this.dns = new DnsCache(options.dns)
    this.#sessionsMax = integerIn('sessionsMax', sessionsMax, 1, 1_000_000)
    this.#idleTimeoutMs = integerIn('idleTimeoutMs', idleTimeoutMs, 1, TIMEOUT_MS_MAX)
    this.#drainIdleTimeoutMs = integerIn('drainIdleTimeoutMs', drainIdleTimeoutMs, 1, TIMEOUT_MS_MAX)
    this.responsesPerDatagram = integerIn('responsesPerDatagram', responsesPerDatagram, 0, 1_000_000)
    this.pendingMax = integerIn('pendingMax', pendingMax, 1, 100_000)
    this.#pendingBytesMax = integerIn('pendingBytesMax', pendingBytesMax, 65_536, 1_073_741_824)
    this.#sendQueueBytesMax = integerIn('sendQueueBytesMax', sendQueueBytesMax, 65_536, 1_073_741_824)
  }

  /** Adds a listener: `host:port` or `[ipv6]:port`; port 0 takes any free one, see {@link endpoints}. */
  addUdp(address: string, options: UdpListenerOptions = {}): this {
    if (this.#started) throw new Error(`Service "${this.name}" has started and takes no more listeners`)
    onlyKeys('addUdp', options, LISTENER_KEYS)
    const wanted = parseAddress(address, { allowPortZero: true })
    if (wanted.kind !== 'tcp') throw new TypeError(`UDP needs a host and port, received "${address}"`)
    if (options.ipv6Only !== undefined) typed('ipv6Only', options.ipv6Only, 'boolean')
    if (options.reusePort !== undefined) typed('reusePort', options.reusePort, 'boolean')
    if (options.receiveBufferBytes !== undefined) {
      integerIn('receiveBufferBytes', options.receiveBufferBytes, 1024, 1_073_741_824)
    }
    this.#listeners.push({
      wanted,
      options,
      places: new Map(),
      sessions: new Places(),
      socket: null,
      bound: undefined,
    })
    return this
  }

  /** The addresses that are bound now, with real ports, in the order they were added. */
  endpoints(): readonly Address[] {
    return this.#listeners.map(({ bound }) => bound).filter((bound) => bound !== undefined)
  }

  /** A snapshot of the counters. */
  stats(): UdpProxyStats {
    return { ...this.#counts, ...this.#traffic }
  }

  /** Binds every listener in order. If one cannot, none is left open. */
  async start(context: ServiceContext): Promise<void> {
    if (this.#started) throw new Error(`Service "${this.name}" was started twice`)
    if (this.#listeners.length === 0) throw new Error(`Service "${this.name}" has no listener`)
    this.#started = true
    this.#logger = context.logger
    try {
      for (const listener of this.#listeners) {
        const key = this.#keyOf(listener)
        // Bound in this very turn if there is nothing to wait for.
        const inherited = context.inherited === undefined ? undefined : await context.inherited.take(key)
        if (inherited === undefined) await this.#bind(listener, undefined)
        else if (typeof inherited.source === 'number') await this.#bind(listener, inherited.source)
        else this.#adopt(listener, inherited)
        context.logger.info('Listening', {
          service: this.name,
          address: listener.bound?.text,
          tls: false,
          udp: true,
        })
      }
    } catch (error) {
      // Clients of inherited sockets were served before this service came: `drain()` finishes what it has begun.
      if (context.inherited === undefined) this.destroy()
      throw error
    }
  }

  /** The sockets whose descriptor Node tells. */
  exportListeners(): ExportedListener[] {
    const exported: ExportedListener[] = []
    for (const listener of this.#listeners) {
      const { socket } = listener
      if (socket === null || datagramDescriptor(socket) === undefined) continue
      exported.push({ key: this.#keyOf(listener), server: socket, backlog: 0, isForeign: false })
    }
    return exported
  }

  /**
   * The successor receives from now on, on the same sockets; the sessions here end as in `drain()`, and responses for
   * them still reach their clients.
   */
  releaseListeners(): Promise<void> {
    for (const { socket } of this.#listeners) if (socket !== null) stopReceiving(socket)
    return this.drain()
  }

  #keyOf({ wanted }: UdpListener): string {
    return wanted.port === 0 ? `udp:${wanted.text} of ${this.name}` : `udp:${wanted.text}`
  }

  async drain(): Promise<void> {
    if (!this.#draining) {
      this.#draining = true
      for (const { sessions } of this.#listeners) for (const session of sessions.values()) session.armIdle()
      if (this.#counts.open === 0) this.#empty.resolve()
    }
    await this.#empty.promise
    this.#closeListeners()
  }

  destroy(): void {
    this.#draining = true
    for (const { sessions } of this.#listeners) for (const session of sessions.values()) session.close()
    this.#empty.resolve()
    this.#closeListeners()
  }

  #closeListeners(): void {
    for (const listener of this.#listeners) {
      listener.socket?.close()
      listener.socket = null
      listener.bound = undefined
    }
  }

  async #bind(listener: UdpListener, fd: number | undefined): Promise<void> {
    const { host, port } = listener.wanted
    const { ipv6Only = false, reusePort = false, receiveBufferBytes } = listener.options
    const type = host.includes(':') ? 'udp6' : 'udp4'
    const socket = createSocket({
      type,
      ipv6Only,
      reusePort,
      // Replies go to addresses, never to names: without this each would pass through the resolver.
      ...(host.includes(':') || /^[\d.]+$/.test(host) ? { lookup: sameAddress as never } : {}),
      ...(receiveBufferBytes === undefined ? {} : { recvBufferSize: receiveBufferBytes }),
    })
    listener.socket = socket
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onClose = () => reject(new Error('it was closed'))
    socket.once('error', reject)
    socket.once('close', onClose) // destroyed while it was binding
    socket.bind(fd === undefined ? { address: host, port } : { fd }, resolve)
    try {
      await promise
    } catch (cause) {
      listener.socket = null
      const { message } = cause as Error
      throw new Error(`Cannot listen on UDP ${listener.wanted.text}: ${message}`, { cause })
    }
    socket.off('error', reject)
    socket.off('close', onClose)
    this.#receiveFrom(listener, socket)
  }

  /** Takes over a socket that receives already. */
  #adopt(listener: UdpListener, inherited: InheritedListener): void {
    const { source, datagrams } = inherited
    if (!(source instanceof Socket))
      throw new TypeError(`A listener of TCP cannot serve UDP ${listener.wanted.text}`)
    if (this.#draining) {
      source.close()
      throw new Error(`Cannot listen on UDP ${listener.wanted.text}: it was closed`)
    }
    listener.socket = source
    this.#receiveFrom(listener, source)
    for (const { message, client } of datagrams.splice(0)) this.#receive(listener, source, message, client)
  }

  #receiveFrom(listener: UdpListener, socket: Socket): void {
    // A reply that cannot be sent, most often: the others go on.
    socket.on('error', () => this.dropped())
    const { address, port: bound } = socket.address()
    listener.bound = parseAddress(`${address.includes(':') ? `[${address}]` : address}:${bound}`)
    socket.on('message', (message, client) => this.#receive(listener, socket, message, client))
  }

  #receive(listener: UdpListener, socket: Socket, message: Buffer, client: RemoteInfo): void {
    const key = `${client.address} ${client.port}`
    const place = listener.places.get(key)
    let session = place === undefined ? undefined : listener.sessions.at(place)
    if (session === undefined) {
      if (this.#draining || this.#counts.open >= this.#sessionsMax || !this.#admits(client)) {
        this.#counts.refused++
        return
      }
      session = new UdpSession(this, socket, client)
      listener.places.set(key, listener.sessions.add(session))
      this.#counts.sessions++
      this.#counts.open++
      session.start()
      if (session.closed) return
    }
    this.#traffic.datagramsFromClients++
    this.#traffic.bytesFromClients += message.length
    session.fromClient(message)
  }

  #admits(client: RemoteInfo): boolean {
    try {
      const answer: unknown = this.#app.clientFilter?.(client.address, client.port)
      if (answer === true || answer === undefined) return true
      if (answer === false) return false
      if (isPromise(answer)) Promise.resolve(answer).catch(() => undefined)
      throw new TypeError('clientFilter() must give true, false or nothing, at once')
    } catch (error) {
      this.hookFailed(error)
      return false
    }
  }

  // --- for the sessions ------------------------------------------------------------------------

  /** @internal */
  get idleLimitMs(): number {
    return this.#draining ? Math.min(this.#idleTimeoutMs, this.#drainIdleTimeoutMs) : this.#idleTimeoutMs
  }

  /** @internal */
  upstreamPeer(session: UdpSession): PeerAddress | Promise<PeerAddress> {
    return this.#app.upstreamPeer(session)
  }

  /** @internal */
  reply(session: UdpSession, message: Buffer): boolean {
    this.#traffic.datagramsFromUpstreams++
    this.#traffic.bytesFromUpstreams += message.length
    return this.send(session.listener, message, session.remotePort, session.remoteAddress)
  }

  /** @internal */
  send(socket: Socket, message: Buffer, port?: number, address?: string): boolean {
    if (socket.getSendQueueSize() > this.#sendQueueBytesMax) {
      this.dropped()
      return false
    }
    if (port === undefined) socket.send(message)
    else socket.send(message, port, address)
    return true
  }

  /** @internal */
  hold(bytes: number): boolean {
    if (this.#pendingBytes + bytes > this.#pendingBytesMax) return false
    this.#pendingBytes += bytes
    return true
  }

  /** @internal */
  letGo(bytes: number): void {
    this.#pendingBytes -= bytes
  }

  /** @internal */
  dropped(): void {
    this.#counts.dropped++
  }

  /** @internal */
  hookFailed(error: unknown): void {
    this.#logger.error('A hook of the UDP proxy failed', { service: this.name, error })
  }

  /** @internal */
  sessionEnded(session: UdpSession, error: ProxyError | undefined): void {
    const listener = this.#listeners.find(({ socket }) => socket === session.listener)
    if (listener !== undefined) forget(listener, session)
    this.#counts.open--
    if (error !== undefined) this.#counts.failed++
    try {
      const logged: unknown = this.#app.logging?.(session, error)
      if (isPromise(logged)) Promise.resolve(logged).catch((thrown: unknown) => this.hookFailed(thrown))
    } catch (thrown) {
      this.hookFailed(thrown)
    }
    if (this.#draining && this.#counts.open === 0) this.#empty.resolve()
  }
}

function forget({ places, sessions }: UdpListener, session: UdpSession): void {
  const key = `${session.remoteAddress} ${session.remotePort}`
  const place = places.get(key)
  if (place !== undefined && sessions.remove(place, session)) places.delete(key)
}

function sameAddress(
  address: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, address.includes(':') ? 6 : 4)
}

/**
 * A service that relays datagrams as `app` says. Add listeners to it, and it to a server.
 *
 * A session is one client address and port. It begins with a datagram and ends when it is silent for `idleTimeoutMs`, when
 * the upstream is lost, or after the responses it was to get.
 *
 * @throws {TypeError} If the app lacks `upstreamPeer` or an option is unknown.
 * @throws {RangeError} If a number is out of range.
 * @example
 * const dns = udpProxyService({ upstreamPeer: () => balancer.select() }, { responsesPerDatagram: 1 })
 * dns.addUdp('127.0.0.1:5353')
 * server.addService(dns)
 */
export function udpProxyService(app: UdpProxy, options: UdpProxyOptions = {}): UdpProxyService {
  return new UdpProxyService(app, options)
}
