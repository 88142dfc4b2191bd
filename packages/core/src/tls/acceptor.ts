import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'
import type { DoctorFinding } from '../doctor/finding.ts'
import { examineCertificate, examineTicketKeys } from '../doctor/listening.ts'
import { type Logger, silentLogger } from '../logger.ts'
import {
  type AcceptorPlan,
  type IdentityPlan,
  type PolicyPlan,
  planAcceptor,
  type SitePlan,
  secrets,
} from './acceptor-plan.ts'
import { admitClient } from './client-certificates.ts'
import { FileWatch } from './file-watch.ts'
import { completeHandshake, type OnHandshakeComplete } from './handshake-complete.ts'
import { HandshakeCounts } from './handshake-counts.ts'
import { HelloPeek, type HelloReceiver } from './hello-peek.ts'
import {
  HOST_ASKS_OTHERWISE,
  HOST_NOT_COVERED,
  HOST_SERVED,
  type HostScope,
  namesCover,
  setHostScope,
} from './host-scope.ts'
import { type CheckedIdentity, checkIdentity, timeProblem } from './identity.ts'
import type { TlsListenerOptions, TlsReloadEvent } from './listener-options.ts'
import { RuntimeCertificates } from './runtime-certificates.ts'
import { normalServerName, ServerNameMap } from './server-names.ts'
import { TicketKeys } from './ticket-keys.ts'

/** Who takes the connections. One of the two is called for each, unless it closes first. */
export interface TlsReceiver {
  /** The handshake is complete, and the client admitted. */
  onSecure(socket: TLSSocket): void
  /** The handshake failed or the client was refused; the socket is still to be destroyed. */
  onHandshakeFailed(error: Error, socket: Socket): void
}

interface Site {
  readonly policy: PolicyPlan
  readonly serverNames: readonly string[] | undefined
  readonly plan: IdentityPlan
  checked: CheckedIdentity
  /** Undefined for the default certificate: it is the TLS server's own. */
  context: SecureContext | undefined
  /** Digests of what the files held, or the error of reading them: what is served, was judged last, was odd once. */
  servedState: string
  seenState: string
  doubtedState: string
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
  readonly #sites: Site[]
  readonly #default: Site | undefined
  readonly #runtime: RuntimeCertificates | undefined
  /** True where a name that one connection is for may be served with another's certificate. */
  readonly #hasScopes: boolean
  #names: ServerNameMap<Site>
  #receiver: TlsReceiver | undefined
  #logger: Logger = silentLogger
  #watch: FileWatch | undefined
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
    const { identity, policy } = plan
    const { loadCertificate } = options
    try {
      this.#default =
        identity === undefined
          ? undefined
          : siteOf({ ...identity, policy, serverNames: undefined }, undefined)
      this.#sites = plan.sites.map((site) =>
        siteOf(site, createSecureContext(contextOptions(site.policy, site.checked))),
      )
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
    this.#names = this.#indexNames()
    this.#hasScopes = this.#runtime !== undefined || this.#sites.length + (plan.hasDefault ? 1 : 0) > 1
  }

  /** What an operator should change: certificates, keys, ticket keys. */
  examine(nowMs: number): DoctorFinding[] {
    const { address, ticketKeys } = this.#plan
    const all = this.#default === undefined ? this.#sites : [this.#default, ...this.#sites]
    return [
      ...all.flatMap(({ checked, plan: { files } }) =>
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
    const all = this.#default === undefined ? this.#sites : [this.#default, ...this.#sites]
    for (const site of all) {
      const problem = timeProblem(site.checked, Date.now())
      if (problem !== undefined) logger.warn(problem, { address, certFile: site.plan.files?.certFile })
    }
    const paths = all.flatMap(({ plan: { files } }) =>
      files === undefined ? [] : [files.certFile, files.keyFile],
    )
    if (paths.length === 0 || reloadMs === 0) return
    this.#watch = new FileWatch(paths, reloadMs, () => this.#reload(all))
  }

  /** Looks after files no longer. Handshakes that have begun go on. */
  close(): void {
    this.#watch?.close()
    this.#watch = undefined
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
    this.#serverOf(this.#policyFor(serverName)).emit('connection', socket)
  }

  onHelloFailed(socket: Socket, reason: string): void {
    this.#receiver?.onHandshakeFailed(new Error(`TLS handshake failed: ${reason}`), socket)
  }

  // --- handshakes ------------------------------------------------------------------------------

  #serverOf(policy: PolicyPlan): Server {
    return this.#servers.get(policy) as Server
  }

  #policyFor(serverName: string | undefined): PolicyPlan {
    const site = serverName === undefined ? undefined : this.#names.find(serverName)
    return site === undefined ? this.#plan.policy : site.policy
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
  #choose(
    policy: PolicyPlan,
    asked: string,
    callback: (error: Error | null, context?: SecureContext) => void,
  ): void {
    const serverName = normalServerName(asked)
    const site = serverName === undefined ? undefined : this.#names.find(serverName)
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

  #useDefault(callback: (error: Error | null, context?: SecureContext) => void): void {
    if (this.#plan.hasDefault) callback(null)
    else callback(new Error('No certificate serves the server name'))
  }

  #admit(policy: PolicyPlan, socket: TLSSocket): void {
    const { servername } = socket as { servername?: unknown }
    // A second ClientHello (RFC 8446 §4.1.4) must not ask for a name of another policy than the first, which was read.
    if (this.#servers.size > 1 && typeof servername === 'string' && servername !== '') {
      if (this.#policyFor(normalServerName(servername)) !== policy) {
        this.#refuse(socket, 'The server name changed within the handshake')
        return
      }
    }
    if (this.#hasScopes) setHostScope(socket, this.#scopeOf(policy, socket, normalServerName(servername)))
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

  /** What a connection may be used for; the name is undefined when none was asked for, or none is known. */
  #scopeOf(policy: PolicyPlan, socket: TLSSocket, serverName: string | undefined): HostScope {
    const site = serverName === undefined ? undefined : this.#names.find(serverName)
    const covers = (host: string): boolean => {
      if (site !== undefined) return namesCover(site.checked.names, host)
      if (this.#runtime === undefined && this.#default !== undefined)
        return namesCover(this.#default.checked.names, host)
      // A certificate that others gave. In a resumed session Node.js does not tell which: nothing is held against it.
      return socket.isSessionReused() || socket.getX509Certificate()?.checkHost(host) !== undefined
    }
    return {
      judgeHost: (host) => {
        const target = host === undefined ? undefined : this.#names.find(host)
        const { clients } = target?.policy ?? this.#plan.policy
        if (clients !== undefined && clients !== policy.clients) return HOST_ASKS_OTHERWISE
        if (serverName === undefined || host === serverName) return HOST_SERVED
        if (target !== undefined && target === site) return HOST_SERVED
        return host !== undefined && covers(host) ? HOST_SERVED : HOST_NOT_COVERED
      },
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

  #rotateTicketKey(): void {
    const key = currentKey(this.#ticketKeys)
    if (key === this.#ticketKey) return
    this.#ticketKey = key
    for (const server of this.#servers.values()) server.setTicketKeys(key)
  }

  // --- certificates ----------------------------------------------------------------------------

  /** Names that were given go first, then those in certificates, then those of the default one. */
  #indexNames(): ServerNameMap<Site> {
    const names = new ServerNameMap<Site>()
    for (const site of this.#sites) {
      for (const name of site.serverNames ?? []) {
        if (!names.add(name, site)) {
          throw new TypeError(
            `Two certificates of TLS on ${this.#plan.address} have the server name "${name}"`,
          )
        }
      }
    }
    const others = this.#sites.filter((site) => site.serverNames === undefined)
    for (const site of this.#default === undefined ? others : [...others, this.#default]) {
      for (const name of site.checked.names) {
        if (normalServerName(name.replace(/^\*\./, '')) !== undefined) names.add(name, site)
      }
    }
    return names
  }

  /** Never rejects. */
  async #reload(sites: readonly Site[]): Promise<void> {
    for (const site of sites) {
      const { files, passphrase } = site.plan
      if (files === undefined) continue
      let state = ''
      try {
        const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)])
        state = digestOf(cert, key)
        if (state !== site.servedState && state !== site.seenState) {
          this.#replace(
            site,
            checkIdentity({ cert, key, ...(passphrase === undefined ? {} : { passphrase }) }),
          )
          site.servedState = state
          this.#reloaded(site, files.certFile, undefined)
        }
        site.seenState = state
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown))
        this.#doubt(site, state === '' ? error.message : state, error, files.certFile)
      }
    }
  }

  /** Between the writing of two files there is nothing wrong yet: what is wrong is so when it is looked at again. */
  #doubt(site: Site, state: string, error: Error, certFile: string): void {
    if (state === site.seenState) return // told already
    if (state === site.doubtedState) {
      site.seenState = state
      this.#reloaded(site, certFile, error)
    } else {
      site.doubtedState = state
      this.#watch?.lookAgain()
    }
  }

  /** Everything that can fail comes first, then all of it is swapped. */
  #replace(site: Site, checked: CheckedIdentity): void {
    const problem = timeProblem(checked, Date.now())
    if (problem !== undefined) throw new Error(problem)
    const { policy } = site
    const options = contextOptions(policy, checked)
    if (site === this.#default) {
      createSecureContext(options) // which throws where the next line would leave the server half changed
      this.#serverOf(policy).setSecureContext({ ...options, ticketKeys: this.#ticketKey })
    } else site.context = createSecureContext(options)
    site.checked = checked
    this.#names = this.#indexNames()
  }

  #reloaded(site: Site, certFile: string, error: Error | undefined): void {
    const { address } = this.#plan
    const isNew = error === undefined
    const { validToMs, names } = site.checked
    if (isNew) {
      this.#logger.info('Certificate reloaded', {
        address,
        certFile,
        validTo: new Date(validToMs).toISOString(),
      })
    } else this.#logger.error('Certificate not reloaded, the old one stays', { address, certFile, error })
    try {
      this.#onReload?.({
        kind: isNew ? 'reloaded' : 'rejected',
        certFile,
        serverNames: isNew ? (site.serverNames ?? names) : [],
        validToMs: isNew ? validToMs : undefined,
        error,
      })
    } catch {
      // A listener for events must not stop the next certificate from being read.
    }
  }

  /** Clients decide how often this happens. */
  #logSeldom(message: string, fields: { readonly serverName?: string; readonly error: unknown }): void {
    const now = performance.now()
    if (now - this.#lastLogAt < LOG_INTERVAL_MS) return
    this.#lastLogAt = now
    this.#logger.warn(message, { address: this.#plan.address, ...fields })
  }
}

function siteOf(plan: SitePlan, context: SecureContext | undefined): Site {
  const { cert, key } = plan.checked.identity
  const digest = digestOf(cert, key)
  const { policy, serverNames, checked } = plan
  return {
    policy,
    serverNames,
    plan,
    checked,
    context,
    servedState: digest,
    seenState: digest,
    doubtedState: '',
  }
}

function currentKey(keys: TicketKeys | Buffer): Buffer {
  return keys instanceof TicketKeys ? keys.key : keys
}

function contextOptions(policy: PolicyPlan, checked: CheckedIdentity): TlsOptions {
  return { ...withoutIdentity(policy.tls), ...secrets({ checked }) }
}

function withoutIdentity(tls: TlsOptions): TlsOptions {
  const { cert: _cert, key: _key, passphrase: _passphrase, pfx: _pfx, ...rest } = tls
  return rest
}

function digestOf(cert: string | Buffer, key: string | Buffer): string {
  const hash = createHash('sha256')
  for (const part of [cert, key]) hash.update(createHash('sha256').update(part).digest())
  return hash.digest('base64url')
}

function ignore(): void {}
