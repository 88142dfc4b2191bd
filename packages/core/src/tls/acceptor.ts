import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineCertificate, examineTicketKeys } from '../doctor/listening.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { type AcceptorPlan, type PolicyPlan, planAcceptor } from './acceptor-plan.ts'
import { admitClient } from './client-certificates.ts'
import { completeHandshake, type OnHandshakeComplete } from './handshake-complete.ts'
import { HandshakeCounts } from './handshake-counts.ts'
import { HelloPeek, type HelloReceiver } from './hello-peek.ts'
import { setHostScope } from './host-scope.ts'
import { type CheckedIdentity, timeProblem } from './identity.ts'
import type { TlsListenerOptions, TlsReloadEvent } from './listener-options.ts'
import { type ContextCallback, RuntimeCertificates } from './runtime-certificates.ts'
import { normalServerName } from './server-names.ts'
import { SiteReload } from './site-reload.ts'
import { SiteScope } from './site-scope.ts'
import { type Site, Sites, withoutIdentity } from './sites.ts'
import { TicketKeys } from './ticket-keys.ts'

/** Who takes the connections. One of the two is called for each, unless it closes first. */
export interface TlsReceiver {
  /** The handshake is complete, and the client admitted. */
  onSecure(socket: TLSSocket): void
  /** The handshake failed or the client was refused; the socket is still to be destroyed. */
  onHandshakeFailed(error: Error, socket: Socket): void
}

const LOG_INTERVAL_MS: number = 1_000

/**
 * The TLS side of a listener. Connections, once counted and filtered, go in raw and come out with their handshake
 * done. Beneath are TLS servers that never listen: one, or one for each policy if not all names have the same.
 */
export class TlsAcceptor implements HelloReceiver {
  readonly #plan: AcceptorPlan
  readonly #onReload: ((event: TlsReloadEvent) => void) | undefined
  readonly #onHandshakeComplete: OnHandshakeComplete | undefined
  readonly counts: HandshakeCounts = new HandshakeCounts()
  readonly #servers: Map<PolicyPlan, Server> = new Map()
  readonly #sites: Sites
  readonly #runtime: RuntimeCertificates | undefined
  /** True where a name that one connection is for may be served with another's certificate. */
  readonly #hasScopes: boolean
  #receiver: TlsReceiver | undefined
  #logger: Logger = silentLogger
  #reload: SiteReload | undefined
  #ticketKeys: TicketKeys | Buffer
  #ticketKey: Buffer
  #lastLogAt = -LOG_INTERVAL_MS

  /** @throws {TypeError | RangeError} If an option is wrong, or a certificate cannot be used. */
  constructor(address: string, options: TlsListenerOptions, alpnProtocols: readonly string[] | undefined) {
    const plan = planAcceptor(address, options, alpnProtocols)
    this.#plan = plan
    this.#onReload = options.onReload
    this.#onHandshakeComplete = options.onHandshakeComplete
    this.#ticketKeys = plan.ticketKeys
    this.#ticketKey = currentKey(plan.ticketKeys)
    const { policy } = plan
    const { loadCertificate } = options
    try {
      this.#sites = new Sites(plan)
      this.#runtime =
        loadCertificate === undefined
          ? undefined
          : new RuntimeCertificates(loadCertificate, withoutIdentity(policy.tls), options.runtimeCertificates)
      this.#addServer(policy)
      for (const site of plan.sites) this.#addServer(site.policy)
    } catch (cause) {
      if (cause instanceof TypeError || cause instanceof RangeError) throw cause
      throw new TypeError(`Invalid TLS options for ${address}: ${(cause as Error).message}`, { cause })
    }
    this.#hasScopes = this.#runtime !== undefined || plan.sites.length + (plan.hasDefault ? 1 : 0) > 1
  }

  /** What an operator should change: certificates, keys, ticket keys. */
  examine(nowMs: number): DoctorFinding[] {
    const { address, ticketKeys } = this.#plan
    return [
      ...this.#sites.all.flatMap(({ checked, files }) =>
        examineCertificate(address, { checked, files }, nowMs),
      ),
      ...(ticketKeys instanceof TicketKeys ? [] : examineTicketKeys(address, ticketKeys)),
    ]
  }

  /** Takes connections from now on, and looks after files. */
  open(receiver: TlsReceiver, logger: Logger): void {
    this.#receiver = receiver
    this.#logger = logger
    const { address, reloadMs } = this.#plan
    for (const { checked, files } of this.#sites.all) {
      const problem = timeProblem(checked, Date.now())
      if (problem !== undefined) logger.warn(problem, { address, certFile: files?.certFile })
    }
    this.#reload = new SiteReload(this.#sites.all, reloadMs, {
      address,
      logger,
      onReload: this.#onReload,
      replace: (site, checked) => this.#replace(site, checked),
    })
  }

  /** Looks after files no longer. Handshakes that have begun go on. */
  close(): void {
    this.#reload?.close()
    this.#reload = undefined
  }

  /** The state of the ticket keys, a secret; `undefined` if they are fixed bytes, which a successor has by itself. */
  exportTicketKeys(): string | undefined {
    const ticketKeys = this.#ticketKeys
    return ticketKeys instanceof TicketKeys ? ticketKeys.export() : undefined
  }

  /** Goes on with a predecessor's keys, so that its clients resume their sessions here. */
  importTicketKeys(state: string): void {
    const ticketKeys = this.#ticketKeys
    if (ticketKeys instanceof TicketKeys) ticketKeys.restore(state)
  }

  /** What other threads need to issue and take the same tickets; a secret. */
  ticketKeyState(): string | Buffer {
    const ticketKeys = this.#ticketKeys
    return ticketKeys instanceof TicketKeys ? ticketKeys.export() : ticketKeys
  }

  /** Uses the ticket keys of another thread, as `ticketKeyState` gave them, which rotate in step. */
  followTicketKeys(state: string | Uint8Array): void {
    if (typeof state !== 'string') this.#ticketKeys = Buffer.from(state)
    else if (this.#ticketKeys instanceof TicketKeys) this.#ticketKeys.restore(state)
    this.#rotateTicketKey()
  }

  /** Takes a raw connection. */
  accept(socket: Socket): void {
    this.#rotateTicketKey()
    if (this.#servers.size === 1) this.#serverOf(this.#plan.policy).emit('connection', socket)
    else new HelloPeek(socket, this.#plan.handshakeTimeoutMs, this)
  }

  onServerName(socket: Socket, serverName: string | undefined): void {
    this.#serverOf(this.#sites.policyFor(serverName)).emit('connection', socket)
  }

  onHelloFailed(socket: Socket, reason: string): void {
    this.#receiver?.onHandshakeFailed(new Error(`TLS handshake failed: ${reason}`), socket)
  }

  // --- handshakes ------------------------------------------------------------------------------

  #serverOf(policy: PolicyPlan): Server {
    return this.#servers.get(policy) as Server
  }

  #addServer(policy: PolicyPlan): void {
    if (this.#servers.has(policy)) return
    const tls: TlsOptions = { ...policy.tls, ticketKeys: this.#ticketKey }
    tls.handshakeTimeout = this.#plan.handshakeTimeoutMs
    if (this.#plan.sites.length > 0 || this.#runtime !== undefined) {
      tls.SNICallback = (serverName, callback) => this.#choose(policy, serverName, callback)
    }
    const server = createServer(tls)
    server.on('secureConnection', (socket) => this.#admit(policy, socket))
    server.on('tlsClientError', (error, socket) => this.#receiver?.onHandshakeFailed(error, socket))
    this.#servers.set(policy, server)
  }

  /** Not called for resumed sessions, which is why nothing but the certificate is decided here. */
  #choose(policy: PolicyPlan, asked: string, callback: ContextCallback): void {
    const serverName = normalServerName(asked)
    const site = this.#sites.find(serverName)
    if (site !== undefined) {
      if (site.policy === policy) callback(null, site.context)
      else callback(new Error('The server name changed within the handshake'))
    } else if (this.#runtime === undefined || serverName === undefined) this.#useDefault(callback)
    else {
      this.#runtime.find(serverName, (error, context) => {
        if (error !== null) {
          this.#logSeldom('Cannot load a certificate', { serverName, error })
          callback(error)
        } else if (context !== undefined) callback(null, context)
        else this.#useDefault(callback)
      })
    }
  }

  #useDefault(callback: ContextCallback): void {
    if (this.#plan.hasDefault) callback(null)
    else callback(new Error('No certificate serves the server name'))
  }

  #admit(policy: PolicyPlan, socket: TLSSocket): void {
    const { servername } = socket as { servername?: unknown }
    // A second ClientHello (RFC 8446 §4.1.4) must not ask for a name of another policy than the first, which was read.
    if (this.#servers.size > 1 && typeof servername === 'string' && servername !== '') {
      if (this.#sites.policyFor(normalServerName(servername)) !== policy) {
        this.#refuse(socket, 'The server name changed within the handshake')
        return
      }
    }
    if (this.#hasScopes) {
      const fallback = this.#runtime === undefined ? this.#sites.default : undefined
      setHostScope(socket, new SiteScope(this.#sites, socket, policy, normalServerName(servername), fallback))
    }
    const verdict = policy.clients === undefined ? true : admitClient(policy.clients, socket)
    if (verdict === true) this.#complete(socket)
    else if (verdict === false) this.#refuse(socket, 'The client certificate was refused')
    else {
      socket.on('error', ignore)
      void verdict.then((admitted) => {
        if (socket.destroyed) return
        if (admitted) this.#complete(socket)
        else this.#refuse(socket, 'The client certificate was refused')
      })
    }
  }

  #complete(socket: TLSSocket): void {
    const callback = this.#onHandshakeComplete
    if (callback !== undefined) {
      try {
        completeHandshake(callback, socket)
      } catch (error) {
        this.#logSeldom('onHandshakeComplete failed', { error })
        this.#refuse(socket, 'onHandshakeComplete failed', error)
        return
      }
    }
    this.#receiver?.onSecure(socket)
  }

  #refuse(socket: TLSSocket, reason: string, cause?: unknown): void {
    socket.on('error', ignore)
    this.#receiver?.onHandshakeFailed(new Error(reason, { cause }), socket)
  }

  #replace(site: Site, checked: CheckedIdentity): void {
    this.#sites.replace(site, checked, (options) =>
      this.#serverOf(site.policy).setSecureContext({ ...options, ticketKeys: this.#ticketKey }),
    )
  }

  #rotateTicketKey(): void {
    const key = currentKey(this.#ticketKeys)
    if (key === this.#ticketKey) return
    this.#ticketKey = key
    for (const server of this.#servers.values()) server.setTicketKeys(key)
  }

  /** Clients decide how often this happens. */
  #logSeldom(message: string, fields: { readonly serverName?: string; readonly error: unknown }): void {
    const now = performance.now()
    if (now - this.#lastLogAt < LOG_INTERVAL_MS) return
    this.#lastLogAt = now
    this.#logger.warn(message, { address: this.#plan.address, ...fields })
  }
}

function currentKey(keys: TicketKeys | Buffer): Buffer {
  return keys instanceof TicketKeys ? keys.key : keys
}

function ignore(): void {}
