import type { ChildProcess } from 'node:child_process'
import type { Socket as DatagramSocket } from 'node:dgram'
import { chmodSync, lstatSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import { createServer, Server, type Socket } from 'node:net'
import { childProcesses } from '../lazy-modules.ts'
import type { Logger } from '../logger.ts'
import type { ExportedListener } from '../server/service.ts'
import { datagramDescriptor } from './datagrams.ts'
import { HELPER_SOURCE } from './helper-source.ts'
import {
  HELLO_BYTES_MAX,
  LINE_TIMEOUT_MS,
  line,
  RENDEZVOUS_TIMEOUT_MS,
  readLine,
  TIMER_MS_MAX,
  UPGRADE_PROTOCOL_VERSION,
  type UpgradeRequest,
  type UpgradeState,
} from './protocol.ts'

/** Connections to `upgrade_sock` at once; more are closed. A silent one leaves its place after 3 s. */
const CONNECTIONS_MAX: number = 16

/** What {@link UpgradeHost} asks of its server. */
export interface UpgradeHostOwner {
  readonly logger: Logger
  /** A successor was let in: what is to be handed over. A rejection refuses it. */
  onTransfer(): Promise<{ listeners: readonly ExportedListener[]; state: UpgradeState }>
  /** The transfer failed before the point of no return: serve on. */
  onRollback(): void
  /** The successor serves: close every listener now, synchronously, and leave the files of sockets alone. */
  onCommit(): void
}

/** Options of {@link UpgradeHost}. */
export interface UpgradeHostOptions {
  /** Path of `upgrade_sock`. */
  readonly path: string
  /** Whether an upgrade takes SIGQUIT, see {@link UpgradeHost.arm}, or `--upgrade` is enough. */
  readonly waitsForSignal: boolean
  /** How long the new server may take until it is ready, in ms. */
  readonly readyTimeoutMs: number
}

/** The old server's end of an upgrade: listens on `upgrade_sock` and hands over to at most one successor. */
export class UpgradeHost {
  readonly #options: UpgradeHostOptions
  readonly #owner: UpgradeHostOwner
  #server: Server | undefined
  #file: { device: number; inode: number } | undefined
  #isBusy = false
  #hasEnded = false
  #isCommitted = false
  #armed: NodeJS.Timeout | undefined
  #onArmed: (() => void) | undefined
  #helper: ChildProcess | undefined

  constructor(options: UpgradeHostOptions, owner: UpgradeHostOwner) {
    this.#options = options
    this.#owner = owner
  }

  /** True once a successor has taken over; files that it may have replaced are no longer ours. */
  get isCommitted(): boolean {
    return this.#isCommitted
  }

  /**
   * Listens, with mode 0600. Bound under another name and renamed: whoever was there before, a stale file or the
   * predecessor's socket, is replaced in one step.
   */
  async publish(): Promise<void> {
    const { path } = this.#options
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false) {
      throw new Error(`Cannot listen on upgrade_sock: ${path} exists and is not a socket`)
    }
    const server = createServer((socket) => {
      this.#serve(socket).catch((error: unknown) => {
        this.#owner.logger.warn('Upgrade connection failed', { error })
        socket.destroy()
      })
    })
    server.maxConnections = CONNECTIONS_MAX
    const temporary = `${path}.${process.pid.toString(36)}`
    rmSync(temporary, { force: true }) // of a dead process that had our id
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    const umask = process.umask(0o177) // never there with another mode, not even under its temporary name
    try {
      server.listen({ path: temporary }, resolve)
    } finally {
      process.umask(umask)
    }
    try {
      await promise
    } catch (cause) {
      throw new Error(`Cannot listen on upgrade_sock: ${(cause as Error).message}`, { cause })
    }
    server.removeListener('error', reject)
    server.on('error', (error) => this.#owner.logger.warn('Cannot accept on upgrade_sock', { error }))
    try {
      chmodSync(temporary, 0o600)
      const { dev, ino } = lstatSync(temporary)
      renameSync(temporary, path)
      this.#file = { device: dev, inode: ino }
    } catch (error) {
      server.close()
      throw error
    }
    this.#server = server
    if (this.#hasEnded) this.unpublish() // while it was binding
  }

  /** Stops listening, cancels a transfer that is not yet committed, and removes the file unless a successor has it. */
  unpublish(): void {
    this.#hasEnded = true
    this.#server?.close()
    this.#server = undefined
    this.#disarm()
    if (!this.#isCommitted) this.#helper?.kill('SIGKILL')
    const file = this.#file
    this.#file = undefined
    if (file === undefined || this.#isCommitted) return
    try {
      const stat = lstatSync(this.#options.path)
      if (stat.dev === file.device && stat.ino === file.inode) unlinkSync(this.#options.path)
    } catch {
      // Gone, or no longer ours to remove after the user changed.
    }
  }

  /** SIGQUIT came: lets a waiting successor in, or the next one within 30 s; after that nothing has changed. */
  arm(): void {
    if (this.#isCommitted || this.#isBusy || this.#server === undefined) {
      if (this.#onArmed !== undefined) this.#onArmed()
      return
    }
    const { logger } = this.#owner
    clearTimeout(this.#armed)
    this.#armed = setTimeout(() => {
      this.#armed = undefined
      logger.warn('No new server came to take over: this one serves on', {
        waitedMs: RENDEZVOUS_TIMEOUT_MS,
      })
    }, RENDEZVOUS_TIMEOUT_MS).unref()
  }

  #disarm(): void {
    clearTimeout(this.#armed)
    this.#armed = undefined
  }

  async #serve(socket: Socket): Promise<void> {
    socket.on('error', () => undefined)
    let request: UpgradeRequest
    try {
      request = (await readLine(socket, HELLO_BYTES_MAX, LINE_TIMEOUT_MS)) as UpgradeRequest
    } catch {
      socket.destroy() // silence, garbage, or a probe
      return
    }
    const answer = (message: Parameters<typeof line>[0]) => socket.end(line(message))
    if (request.t === 'ping') {
      const signal = this.#options.waitsForSignal && this.#armed === undefined
      answer({ t: 'pong', pid: process.pid, draining: this.#isCommitted, signal })
    } else if (request.t !== 'hello') answer({ t: 'no', err: 'protocol' })
    else if (request.v !== UPGRADE_PROTOCOL_VERSION) {
      answer({ t: 'no', err: 'version', v: UPGRADE_PROTOCOL_VERSION })
    } else if (this.#isBusy || this.#isCommitted || this.#server === undefined) {
      answer({ t: 'no', err: 'busy' })
    } else {
      this.#isBusy = true
      try {
        await this.#letIn(socket, request.pid)
      } finally {
        this.#isBusy = false
        socket.destroy()
      }
    }
  }

  async #letIn(socket: Socket, launcher: number): Promise<void> {
    const { logger } = this.#owner
    if (this.#options.waitsForSignal && this.#armed === undefined) {
      logger.info('A new server waits for SIGQUIT', { launcher })
      if (!(await this.#signalOrGone(socket))) {
        logger.info('The waiting new server left', { launcher })
        return
      }
    }
    this.#disarm()
    const begun = performance.now()
    try {
      await this.#transfer(socket)
    } catch (error) {
      logger.error('Upgrade failed: this server serves on', { error })
      this.#owner.onRollback()
      return
    }
    logger.info('Handed over', { tookMs: Math.round(performance.now() - begun) })
  }

  /** Waits for SIGQUIT; false if the launcher leaves, or the server ends, before. */
  #signalOrGone(socket: Socket): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const onGone = () => resolve(false)
    const timer = setTimeout(onGone, RENDEZVOUS_TIMEOUT_MS)
    socket.once('close', onGone).once('end', onGone).once('data', onGone) // it has nothing to say now
    socket.resume()
    this.#onArmed = () => resolve(this.#server !== undefined)
    return promise.finally(() => {
      clearTimeout(timer)
      this.#onArmed = undefined
      socket.pause()
      socket.off('close', onGone).off('end', onGone).off('data', onGone)
    })
  }

  /** Resolves when the successor has taken over; rejects if it has not, and then this server is as before. */
  async #transfer(socket: Socket): Promise<void> {
    const { listeners, state } = await this.#owner.onTransfer().catch((error: unknown) => {
      socket.end(line({ t: 'no', err: 'listeners' }))
      throw error
    })
    if (this.#server === undefined) throw new Error('the server ends')
    const { readyTimeoutMs } = this.#options
    const fds = listeners.map((listener) => descriptorOf(listener.server))
    const job = {
      listeners: listeners.map(({ key, backlog, isForeign, server }) => ({
        key,
        backlog,
        foreign: isForeign,
        ...(server instanceof Server
          ? {}
          : { datagrams: server.address().family === 'IPv6' ? 'udp6' : 'udp4' }),
      })),
      state,
      timeoutMs: Math.min(readyTimeoutMs + 10_000, TIMER_MS_MAX), // only for a helper whose old server is dead; else that one kills it
    }
    const env: NodeJS.ProcessEnv = { ...process.env, NODE_CHANNEL_FD: '3' }
    delete env['NODE_CHANNEL_SERIALIZATION_MODE']
    delete env['NODE_OPTIONS']
    const helper = childProcesses().spawn(ownExecutable(), ['-e', HELPER_SOURCE], {
      stdio: ['pipe', 'pipe', 'inherit', socket, ...fds, ...fds],
      env,
      cwd: '/', // the working directory may be gone, and the helper needs none
    })
    const ended = this.#watch(helper, readyTimeoutMs)
    if (helper.pid === undefined) socket.end(line({ t: 'no', err: 'helper' }))
    else {
      this.#helper = helper
      helper.stdin?.write(`${JSON.stringify(job)}\n`)
      const keys = job.listeners.map((listener) => listener.key)
      // The helper speaks only when asked, so this is the last plain line on the connection.
      socket.write(line({ t: 'go', v: UPGRADE_PROTOCOL_VERSION, pid: process.pid, keys }), () =>
        socket.destroy(),
      )
    }
    try {
      await ended
    } finally {
      this.#helper = undefined
    }
  }

  /** Follows the helper to its end. "ready" is the point of no return. */
  #watch(helper: ChildProcess, readyTimeoutMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let said = ''
    let reason = ''
    const timer = setTimeout(() => {
      reason = `the new server was not ready within ${readyTimeoutMs} ms`
      helper.kill('SIGKILL')
    }, readyTimeoutMs)
    const onLine = (text: string) => {
      if (text === 'ready' && !this.#isCommitted && this.#server !== undefined) {
        clearTimeout(timer)
        this.#isCommitted = true
        this.#owner.onCommit()
        this.unpublish()
        helper.stdin?.end('commit\n')
      } else if (text !== 'done') reason = text
    }
    helper.stdin?.on('error', () => undefined)
    helper.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      for (let end = said.indexOf('\n'); end !== -1; end = said.indexOf('\n')) {
        const text = said.slice(0, end)
        said = said.slice(end + 1)
        onLine(text)
      }
      if (said.length > HELLO_BYTES_MAX) said = ''
    })
    helper.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    // 'close' comes after the last output: a helper that said "ready" and died has still said it.
    helper.once('close', (code, signal) => {
      clearTimeout(timer)
      if (this.#isCommitted) resolve()
      else reject(new Error(reason === '' ? `The helper ended (${signal ?? `status ${code}`})` : reason))
    })
    return promise
  }
}

/** This process's own executable, also after a package upgrade has removed or replaced the file. */
function ownExecutable(): string {
  return process.platform === 'linux' ? '/proc/self/exe' : process.execPath
}

/** The descriptor of a listening socket. Node has no public way to ask, but this field is as old as Node itself. */
function descriptorOf(server: Server | DatagramSocket): number {
  const fd =
    server instanceof Server
      ? (server as { _handle?: { readonly fd?: number } | null })._handle?.fd
      : datagramDescriptor(server)
  if (typeof fd === 'number' && fd >= 0) return fd
  throw new Error('A listener to hand over is not open')
}
