import { Socket as DatagramSocket } from 'node:dgram'
import { chmodSync, lstatSync, renameSync, unlinkSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type Address, parseAddress, type UnixAddress } from '../address.ts'
import type { Logger } from '../logger.ts'
import type { ExportedListener, InheritedListener } from '../server/service.ts'
import type { ListenerPlan } from './listener-options.ts'

const BIND_RETRY_MS: number = 1000
const PROBE_TIMEOUT_MS: number = 2000

let temporaryNameCount = 0

/** One bound, accepting socket. The owner is a listening service. */
export class Listener {
  /** It may change until the listener opens. */
  plan: ListenerPlan
  /** Called for each connection beyond the listener's own cap. */
  onDropped: (() => void) | undefined
  /** Connections go to other threads, which count them: they come paused, and without the listener's own cap. */
  transfers = false
  /** The listener's own cap is kept here; false where others accept on the same address, too. */
  isCapped = true
  #server: Server | undefined
  #bound: Address | undefined
  #file: SocketFile | undefined
  #inherited: InheritedListener | undefined
  #isClosed = false

  constructor(plan: ListenerPlan) {
    this.plan = plan
  }

  /** The address that is bound, with its real port; `undefined` before that and after `close()`. */
  get address(): Address | undefined {
    return this.#bound
  }

  /** It accepts in this thread. */
  get isOpen(): boolean {
    return this.#server !== undefined
  }

  /** In a worker: the main thread has bound the address. */
  boundElsewhere(address: Address): void {
    this.#bound = address
  }

  /** In a worker: gives a connection the options that do not come with it. */
  prepareReceived(socket: Socket): void {
    const { readAheadBytes } = this.plan
    if (readAheadBytes === undefined) return
    // Its stream is made by the runtime, which gives no other way to set this.
    const state = (socket as { _readableState?: { highWaterMark?: number } })._readableState
    if (state?.highWaterMark !== undefined) state.highWaterMark = readAheadBytes
  }

  /**
   * Binds and accepts. Tries again each second while the address is in use, `bindAttemptsMax` times.
   * `onConnection` gets every socket in the same turn it was accepted; `onError` every later accept error.
   */
  async open(
    logger: Logger,
    shutdown: AbortSignal,
    onConnection: (socket: Socket) => void,
    onError: (error: Error) => void,
  ): Promise<Address> {
    const { address, bindAttemptsMax } = this.plan
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#bind(onConnection, onError)
      } catch (error) {
        const isBusy = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
        if (!isBusy || attempt >= bindAttemptsMax || this.#isClosed || shutdown.aborted) {
          throw bindError(address, attempt, error)
        }
        if (attempt === 1) {
          logger.warn('Address is in use, trying again', {
            address: address.text,
            attemptsMax: bindAttemptsMax,
          })
        }
      }
      // An abort ends the wait; the next attempt then decides by itself.
      await delay(BIND_RETRY_MS, undefined, { signal: shutdown }).catch(() => undefined)
    }
  }

  /**
   * Accepts on a socket that listens already, with this plan's options. `onBound` gets the address, then
   * `onConnection` what was accepted before. An inherited Unix socket does not know its path, so that is the plan's.
   */
  async adopt(
    inherited: InheritedListener,
    onBound: (address: Address) => void,
    onConnection: (socket: Socket) => void,
    onError: (error: Error) => void,
  ): Promise<Address> {
    const { address, backlog } = this.plan
    const { source } = inherited
    inherited.setBacklog(backlog)
    let server: Server
    if (source instanceof DatagramSocket) throw new TypeError(`A socket of UDP cannot serve ${address.text}`)
    if (typeof source === 'number') {
      server = this.#createServer(onConnection)
      await listening(server, () => server.listen({ fd: source }, backlog))
    } else if (address.kind === 'tcp') {
      // Ours takes the handle over; the one it came in is forgotten and must never be closed.
      server = this.#createServer(onConnection)
      await listening(server, () => server.listen(source, backlog))
    } else {
      server = source // Node lets no other server take over a pipe
      server.on('connection', (socket) => {
        socket.allowHalfOpen = true
        onConnection(socket)
      })
      this.#limit(server)
    }
    server.on('error', onError)
    this.#server = server
    this.#inherited = inherited
    const bound = address.kind === 'tcp' ? tcpAddressOf(server) : address
    this.#bound = bound
    if (address.kind === 'unix') this.#file = socketFileAt(address.path)
    onBound(bound)
    for (const socket of inherited.accepted.splice(0)) {
      if (socket.destroyed) continue
      if (address.kind === 'tcp') this.#prepare(socket)
      onConnection(socket)
    }
    if (this.#isClosed) {
      this.close()
      throw new Error('The listener was closed while it was taken over')
    }
    return bound
  }

  /** What a successor needs to take this listener over; `undefined` if it is not open. */
  exported(key: string): ExportedListener | undefined {
    const server = this.#server
    if (server === undefined) return undefined
    return { key, server, backlog: this.plan.backlog, isForeign: this.#inherited?.isForeign ?? false }
  }

  /** Gives the socket away, to be posted to another thread in this turn; `undefined` if it is not open here. */
  detach(): Server | undefined {
    const server = this.#server
    this.#server = undefined
    return server
  }

  /** Stops accepting, as a successor does it now: a Unix socket's file is left to that one. */
  release(): void {
    this.#file = undefined
    this.close()
  }

  /** Stops accepting. Connections already accepted are not touched. A Unix socket's file is removed. */
  close(): void {
    this.#isClosed = true
    this.#server?.close()
    this.#server = undefined
    this.#bound = undefined
    // Until an upgrade is committed, the file of an inherited socket is the predecessor's; systemd's stays its own.
    const isOwn = this.#inherited === undefined || (!this.#inherited.isForeign && this.#inherited.isOwn())
    if (this.#file !== undefined && isOwn) removeOwnFile(this.#file)
    this.#file = undefined
  }

  async #bind(onConnection: (socket: Socket) => void, onError: (error: Error) => void): Promise<Address> {
    const { plan } = this
    const server = this.#createServer(onConnection)
    const bound =
      plan.address.kind === 'tcp' ? await this.#bindTcp(server) : await this.#bindUnix(server, plan.address)
    // Errors of accept(2) come here; the server goes on accepting after each of them.
    server.on('error', onError)
    if (this.#isClosed) {
      server.close()
      throw new Error('The listener was closed while it was binding')
    }
    this.#server = server
    this.#bound = bound
    return bound
  }

  #createServer(onConnection: (socket: Socket) => void): Server {
    const { plan } = this
    const server = createServer({
      allowHalfOpen: true,
      noDelay: plan.noDelay,
      keepAlive: plan.keepAlive,
      keepAliveInitialDelay: plan.keepAliveInitialDelayMs,
      pauseOnConnect: this.transfers,
      ...(plan.readAheadBytes === undefined ? {} : { highWaterMark: plan.readAheadBytes }),
    })
    server.on('connection', onConnection)
    this.#limit(server)
    return server
  }

  #limit(server: Server): void {
    const { connectionsMax } = this.plan
    if (connectionsMax === undefined || this.transfers || !this.isCapped) return
    server.maxConnections = connectionsMax
    server.on('drop', () => this.onDropped?.())
  }

  /** Gives a connection that somebody else's server accepted the options that ours would have given it. */
  #prepare(socket: Socket): void {
    socket.setNoDelay(this.plan.noDelay)
    if (this.plan.keepAlive) socket.setKeepAlive(true, this.plan.keepAliveInitialDelayMs)
  }

  async #bindTcp(server: Server): Promise<Address> {
    const { plan } = this
    if (plan.address.kind !== 'tcp') throw new Error('Expected a TCP address')
    const { host, port } = plan.address
    await listening(server, () =>
      server.listen({
        host,
        port,
        backlog: plan.backlog,
        ipv6Only: plan.ipv6Only,
        reusePort: plan.reusePort,
      }),
    )
    return tcpAddressOf(server)
  }

  /**
   * Binds under a temporary name, sets the mode, then renames: the final name never has the wrong
   * permissions, a stale file is replaced in one step, and Node, which unlinks the path it bound when the
   * server closes, cannot unlink a successor's socket.
   */
  async #bindUnix(server: Server, address: UnixAddress): Promise<Address> {
    await assertUnused(address.path)
    temporaryNameCount += 1
    const temporary = `${address.path}.${process.pid.toString(36)}${temporaryNameCount.toString(36)}`
    parseAddress(`unix:${temporary}`) // refuses a name that the system would cut
    await listening(server, () => server.listen({ path: temporary, backlog: this.plan.backlog }))
    try {
      chmodSync(temporary, this.plan.mode)
      const { dev, ino } = lstatSync(temporary)
      renameSync(temporary, address.path)
      this.#file = { path: address.path, device: dev, inode: ino }
    } catch (error) {
      server.close()
      throw error
    }
    return address
  }
}

function tcpAddressOf(server: Server): Address {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('The bound address is not known')
  const shown = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return parseAddress(`${shown}:${bound.port}`)
}

function listening(server: Server, listen: () => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.once('listening', () => {
    server.removeListener('error', reject)
    resolve()
  })
  listen()
  return promise
}

/** Rejects with EADDRINUSE if somebody answers at the path, or if it is a file of another kind. */
async function assertUnused(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket()) throw new Error('the path exists and is not a socket')
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const probe = createConnection({ path })
  probe.setTimeout(PROBE_TIMEOUT_MS, () => probe.destroy(inUse()))
  probe.once('connect', () => probe.destroy(inUse()))
  probe.once('error', (error: NodeJS.ErrnoException) => {
    const { code } = error
    if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve()
    else reject(code === 'EAGAIN' ? inUse() : error) // EAGAIN: its backlog is full, so it is alive
  })
  await promise
}

function inUse(): NodeJS.ErrnoException {
  return Object.assign(new Error('another process listens there'), { code: 'EADDRINUSE' })
}

/** The file of a Unix socket, recognised by its inode: another one may have taken its place. */
interface SocketFile {
  readonly path: string
  readonly device: number
  readonly inode: number
}

function socketFileAt(path: string): SocketFile | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isSocket() === true ? { path, device: stat.dev, inode: stat.ino } : undefined
}

function removeOwnFile(file: SocketFile): void {
  try {
    const stat = lstatSync(file.path)
    if (stat.dev === file.device && stat.ino === file.inode) unlinkSync(file.path)
  } catch {
    // Gone already, or no longer ours to remove.
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use by another socket',
  EADDRNOTAVAIL: 'no interface of this machine has this address',
  EACCES: 'permission denied (ports below 1024 need a privilege, socket files a writable folder)',
  ENOTFOUND: 'the host name is not known',
  ENOENT: 'the folder does not exist',
  ENOTSUP: 'this platform has no SO_REUSEPORT that spreads connections (reusePort)',
}

function bindError(address: Address, attempts: number, cause: unknown): Error {
  const { code, message } = cause as NodeJS.ErrnoException
  const reason = (code === undefined ? undefined : REASONS[code]) ?? message
  const tries = attempts > 1 ? ` after ${attempts} attempts` : ''
  const error = new Error(`Cannot listen on ${address.text}${tries}: ${reason}`, { cause })
  return code === undefined ? error : Object.assign(error, { code })
}
