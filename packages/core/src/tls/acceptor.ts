import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { createServer, type SecureContext, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineAuthorities, examineCertificate, examineTicketKeys } from '../doctor/listening.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { type AcceptorPlan, planAcceptor } from './acceptor-plan.ts'
import { admitClient, type ClientPolicy, type ClientTrust, replaceTrust } from './client-certificates.ts'
import { FollowedFiles } from './followed-files.ts'
import { completeHandshake, type OnHandshakeComplete } from './handshake-complete.ts'
import { HandshakeCounts } from './handshake-counts.ts'
import { HelloPeek, type HelloReceiver } from './hello-peek.ts'
import { setHostScope } from './host-scope.ts'
import { type CheckedIdentity, timeProblem } from './identity.ts'
import type { TlsListenerOptions, TlsReloadEvent } from './listener-options.ts'
import { type PolicyPlan, withClients } from './policies.ts'
import { followClients, followSite } from './reload.ts'
import { RuntimeCertificates } from './runtime-certificates.ts'
import { normalServerName } from './server-names.ts'
import { SiteScope } from './site-scope.ts'
import { type Site, Sites } from './sites.ts'
import { TicketKeys } from './ticket-keys.ts'

/** Who takes the connections. One of the two is called for each, unless it closes first. */
export interface TlsReceiver {
  /** The handshake is complete, and the client admitted. */
  onSecure(socket: TLSSocket): void
  /** The handshake failed or the client was refused; the socket is still to be destroyed. */
  onHandshakeFailed(error: Error, socket: Socket): void
}

type ContextCallback = (error: Error | null, context?: SecureContext) => void

/** A TLS server that never listens, and the ticket key that it was given last. */
interface PolicyServer {
  readonly server: Server
  ticketKey: Buffer
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
  /** Those of policies that were loaded at run time are forgotten with them. */
  readonly #servers: WeakMap<PolicyPlan, PolicyServer> = new WeakMap()
  readonly #sites: Sites
  readonly #runtime: RuntimeCertificates | undefined
  /** The same, where the names that it knows may have policies of their own. */
  readonly #namePolicies: RuntimeCertificates | undefined
  /** Handshakes differ by name, which has to be read before they begin. */
  readonly #peeks: boolean
  /** True where a name that one connection is for may be served with another's certificate. */
  readonly #hasScopes: boolean
  #receiver: TlsReceiver | undefined
  #logger: Logger = silentLogger
  #followed: FollowedFiles | undefined
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
    const { loadCertificate } = options
    try {
      this.#sites = new Sites(plan)
      this.#runtime =
        loadCertificate === undefined
          ? undefined
          : new RuntimeCertificates(loadCertificate, plan.runtimePolicies, options.runtimeCertificates)
      for (const policy of plan.policies) this.#addServer(policy)
    } catch (cause) {
      if (cause instanceof TypeError || cause instanceof RangeError) throw cause
      throw new TypeError(`Invalid TLS options for ${address}: ${(cause as Error).message}`, { cause })
    }
    this.#namePolicies = this.#runtime?.perNamePolicies === true ? this.#runtime : undefined
    this.#peeks = plan.policies.length > 1 || this.#namePolicies !== undefined
    this.#hasScopes = this.#runtime !== undefined || plan.sites.length + (plan.hasDefault ? 1 : 0) > 1
  }

  /** What an operator should change: certificates, keys, ticket keys. */
  examine(nowMs: number): DoctorFinding[] {
    const { address, ticketKeys } = this.#plan
    return [
      ...this.#sites.all.flatMap(({ checked, files }) =>
        examineCertificate(address, { checked, files }, nowMs),
      ),
      ...this.#clientPolicies().flatMap(({ trust }) => examineAuthorities(address, trust.ca, nowMs)),
      ...(ticketKeys instanceof TicketKeys ? [] : examineTicketKeys(address, ticketKeys)),
    ]
  }

  /** What is asked of clients, by the listener and its certificates, each once. */
  #clientPolicies(): ClientPolicy[] {
    const clients = this.#plan.policies.map((policy) => policy.clients)
    return [...new Set(clients)].filter((one) => one !== undefined)
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
    const host = {
      address,
      logger,
      onReload: this.#onReload,
      replaceCertificate: (site: Site, checked: CheckedIdentity) => this.#replaceCertificate(site, checked),
      replaceTrust: (clients: ClientPolicy, trust: ClientTrust) => this.#replaceTrust(clients, trust),
    }
    this.#followed = new FollowedFiles(
      [
        ...this.#sites.all.flatMap((site) => followSite(site, host)),
        ...this.#clientPolicies().flatMap((clients) => followClients(clients, host)),
      ],
      reloadMs,
    )
  }

  /** Looks after files no longer. Handshakes that have begun go on. */
  close(): void {
    this.#followed?.close()
    this.#followed = undefined
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
    if (!this.#peeks) this.#serverOf(this.#plan.policy).emit('connection', socket)
    else new HelloPeek(socket, this.#plan.handshakeTimeoutMs, this)
  }

  onServerName(socket: Socket, serverName: string | undefined): void {
    const runtime = this.#namePolicies
    if (runtime === undefined || serverName === undefined || this.#sites.find(serverName) !== undefined) {
      this.#serverOf(this.#sites.policyFor(serverName)).emit('connection', socket)
      return
    }
    // Whoever loads for several handshakes calls back in the asynchronous context of the first one.
    const inContext = AsyncLocalStorage.snapshot()
    runtime.find(serverName, (error, entry) => {
      if (socket.destroyed) return
      if (entry !== undefined) inContext(() => this.#serverOf(entry.policy).emit('connection', socket))
      else {
        this.#logSeldom('Cannot load a certificate', { serverName, error })
        inContext(() => this.#receiver?.onHandshakeFailed(error as Error, socket))
      }
    })
  }

  onHelloFailed(socket: Socket, reason: string): void {
    this.#receiver?.onHandshakeFailed(new Error(`TLS handshake failed: ${reason}`), socket)
  }

  // --- handshakes ------------------------------------------------------------------------------

  #serverOf(policy: PolicyPlan): Server {
    const known = this.#servers.get(policy) ?? this.#addServer(policy)
    if (known.ticketKey !== this.#ticketKey) {
      known.ticketKey = this.#ticketKey
      known.server.setTicketKeys(this.#ticketKey)
    }
    return known.server
  }

  #addServer(policy: PolicyPlan): PolicyServer {
    const tls: TlsOptions = { ...policy.tls, ticketKeys: this.#ticketKey }
    tls.handshakeTimeout = this.#plan.handshakeTimeoutMs
    if (this.#plan.sites.length > 0 || this.#runtime !== undefined) {
      tls.SNICallback = (serverName, callback) => this.#choose(policy, serverName, callback)
    }
    const server = createServer(tls)
    server.on('secureConnection', (socket) => this.#admit(policy, socket))
    server.on('tlsClientError', (error, socket) => this.#receiver?.onHandshakeFailed(error, socket))
    const added = { server, ticketKey: this.#ticketKey }
    this.#servers.set(policy, added)
    return added
  }

  /** Not called for resumed sessions, which is why nothing but the certificate is decided here. */
  #choose(policy: PolicyPlan, asked: string, callback: ContextCallback): void {
    const serverName = normalServerName(asked)
    const site = this.#sites.find(serverName)
    if (site !== undefined) {
      if (site.policy === policy) callback(null, site.context)
      else callback(new Error(NAME_CHANGED))
    } else if (this.#runtime === undefined || serverName === undefined) this.#useDefault(callback)
    else {
      const runtime = this.#runtime
      const find = this.#namePolicies === undefined ? runtime.find : runtime.findAgain
      find.call(runtime, serverName, (error, entry) => {
        if (entry === undefined) {
          this.#logSeldom('Cannot load a certificate', { serverName, error })
          callback(error)
        } else if (!isSamePolicy(entry.policy, policy)) callback(new Error(NAME_CHANGED))
        else if (entry.context !== undefined) callback(null, entry.context)
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
    if (this.#peeks && typeof servername === 'string' && servername !== '') {
      const expected = this.#policyOf(normalServerName(servername))
      if (expected === undefined || !isSamePolicy(expected, policy)) {
        this.#refuse(socket, NAME_CHANGED)
        return
      }
    }
    if (this.#hasScopes) {
      const fallback = this.#runtime === undefined ? this.#sites.default : undefined
      const serverName = normalServerName(servername)
      const policyOf = (name: string | undefined) => this.#policyOf(name)
      setHostScope(socket, new SiteScope(this.#sites, socket, policy, serverName, fallback, policyOf))
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

  /** What a handshake that asks for a name is made with; undefined if that is not known of a name of others. */
  #policyOf(serverName: string | undefined): PolicyPlan | undefined {
    const runtime = this.#namePolicies
    if (runtime === undefined || serverName === undefined) return this.#sites.policyFor(serverName)
    return this.#sites.find(serverName)?.policy ?? runtime.policyOf(serverName)
  }

  #replaceCertificate(site: Site, checked: CheckedIdentity): void {
    this.#sites.replace(site, checked, (options) =>
      this.#serverOf(site.policy).setSecureContext({ ...options, ticketKeys: this.#ticketKey }),
    )
  }

  /** Everything that can fail comes first, then all of it is swapped. */
  #replaceTrust(clients: ClientPolicy, trust: ClientTrust): void {
    const policies = [...this.#plan.policies, ...this.#plan.runtimePolicies.all]
    const changes = policies
      .filter((policy) => policy.clients === clients)
      .map((policy) => {
        const tls = withClients(policy.base, clients, trust)
        return { policy, tls, prepared: this.#sites.prepare(policy, tls) }
      })
    replaceTrust(clients, trust)
    for (const { policy, tls, prepared } of changes) {
      policy.tls = tls
      prepared.commit()
      this.#serverOf(policy).setSecureContext({ ...prepared.server, ticketKeys: this.#ticketKey })
    }
  }

  /** Each server gets the key when it is used next. */
  #rotateTicketKey(): void {
    this.#ticketKey = currentKey(this.#ticketKeys)
  }

  /** Clients decide how often this happens. */
  #logSeldom(message: string, fields: { readonly serverName?: string; readonly error: unknown }): void {
    const now = performance.now()
    if (now - this.#lastLogAt < LOG_INTERVAL_MS) return
    this.#lastLogAt = now
    this.#logger.warn(message, { address: this.#plan.address, ...fields })
  }
}

const NAME_CHANGED = 'The server name changed within the handshake'

function isSamePolicy(one: PolicyPlan, other: PolicyPlan): boolean {
  return (
    one === other ||
    (one.clients?.key === other.clients?.key &&
      JSON.stringify(one.alpnProtocols) === JSON.stringify(other.alpnProtocols))
  )
}

function currentKey(keys: TicketKeys | Buffer): Buffer {
  return keys instanceof TicketKeys ? keys.key : keys
}

function ignore(): void {}
