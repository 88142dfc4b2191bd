import { Socket as DatagramSocket, type RemoteInfo } from 'node:dgram'
import { Server, type Socket } from 'node:net'
import { inspect } from 'node:util'
import { wholeKey } from '../listening/listener-parts.ts'
import type { Logger } from '../logger.ts'
import type { InheritedListener, InheritedListeners, ReceivedDatagram } from '../server/service.ts'
import {
  COMMIT_TIMEOUT_MS,
  type HelperMessage,
  pingUpgrade,
  type SuccessorMessage,
  type UpgradeState,
} from './protocol.ts'

/** Connections that wait, over all listeners, for a service that is not up yet; more are cut. */
const PARKED_CONNECTIONS_MAX: number = 10_000
/** Datagrams that wait, per listener, for a service that is not up yet; more are dropped. */
const PARKED_DATAGRAMS_MAX: number = 1000
/** Lets the old server act on a `ready` that was under way when the channel broke, in ms. */
const SETTLE_MS: number = 250

interface Arrived extends InheritedListener {
  readonly index: number
  readonly source: Server | DatagramSocket
  /** Parks what comes, until a service takes the listener. */
  readonly unpark: () => void
  isTaken: boolean
}

interface Waiting {
  readonly key: string
  readonly resolve: (listener: InheritedListener | undefined) => void
  readonly reject: (error: Error) => void
}

/** The IPC channel to the helper: `process` itself, or a stand-in. */
export type UpgradeChannel = Pick<NodeJS.Process, 'connected' | 'disconnect' | 'off' | 'on' | 'send'>

/**
 * The new server's end of an upgrade. It asks for the listeners once every service is either up or waits for a
 * listener; until then the old server serves alone and nothing is lost if this one fails. From the first listener
 * on it accepts connections, so a failure after that has to serve them to the end.
 */
export class Inheritance {
  readonly #channel: UpgradeChannel
  readonly #logger: Logger
  readonly #timeoutMs: number
  readonly #parkedMax: number
  readonly #pausedKeys: ReadonlySet<string>
  readonly #onState: (state: UpgradeState) => void
  readonly #arrived: Arrived[] = []
  readonly #waiting: Waiting[] = []
  readonly #backlogs: number[] = []
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers()
  readonly #onMessage = (message: unknown, handle: unknown) => {
    try {
      this.#receive(message, handle)
    } catch (cause) {
      this.fail(new Error('The old server, perhaps of another version, cannot be understood', { cause }))
    }
  }
  readonly #onDisconnect = () => this.fail(new Error('The old server, or its helper, went away'))
  #parkedCount = 0
  #busyCount = 0
  #isCheckDue = false
  #isOwn = false
  #timer: NodeJS.Timeout | undefined
  #state: 'preparing' | 'receiving' | 'received' | 'failed' = 'preparing'
  #failure: Error | undefined
  #onCommit: (() => void) | undefined

  constructor(options: {
    readonly channel: UpgradeChannel
    readonly logger: Logger
    /** How long the listeners may take once they were asked for, in ms. */
    readonly timeoutMs: number
    /** Called once, before the first listener accepts. */
    readonly onState: (state: UpgradeState) => void
    /** Connections that may wait for their service. Default 10,000. */
    readonly parkedMax?: number
    /** Listeners whose connections go to other threads: they must not be read from before. Default none. */
    readonly pausedKeys?: readonly string[]
  }) {
    this.#pausedKeys = new Set(options.pausedKeys)
    this.#channel = options.channel
    this.#logger = options.logger
    this.#timeoutMs = options.timeoutMs
    this.#onState = options.onState
    this.#parkedMax = options.parkedMax ?? PARKED_CONNECTIONS_MAX
    this.#ended.promise.catch(() => undefined)
    this.#channel.on('message', this.#onMessage)
    this.#channel.on('disconnect', this.#onDisconnect)
    if (this.#channel.connected !== true) this.#onDisconnect()
  }

  /** True from the first listener on: connections were accepted and must be served, even by a failed successor. */
  get hasListeners(): boolean {
    return this.#arrived.length > 0
  }

  /** True once the old server has let go, or is gone. */
  get isInCharge(): boolean {
    return this.#isOwn
  }

  /** Resolves never, rejects when the upgrade has failed. */
  get failed(): Promise<never> {
    return this.#ended.promise.then(() => new Promise<never>(() => undefined))
  }

  /**
   * A service begins to start. Returns what it takes its listeners from, and a function for when it has started,
   * or has failed to.
   */
  beginService(): { listeners: InheritedListeners; settle: () => void } {
    let takes = 0
    let isSettled = false
    this.#busyCount += 1
    const block = () => {
      if (takes++ === 0 && !isSettled) this.#idle()
    }
    const unblock = () => {
      if (--takes === 0 && !isSettled) this.#busyCount += 1
    }
    return {
      listeners: {
        take: (key) => {
          const taken = this.#takeArrived(key)
          if (taken !== undefined) return Promise.resolve(taken)
          if (this.#state === 'received') return Promise.resolve(undefined)
          if (this.#failure !== undefined) return Promise.reject(this.#failure)
          block()
          const { promise, resolve, reject } = Promise.withResolvers<InheritedListener | undefined>()
          this.#waiting.push({ key, resolve, reject })
          return promise.finally(unblock)
        },
      },
      settle: () => {
        if (isSettled) return
        isSettled = true
        if (takes === 0) this.#idle()
      },
    }
  }

  #idle(): void {
    this.#busyCount -= 1
    if (this.#isCheckDue) return
    this.#isCheckDue = true
    // A service that became ready lets others start within this turn.
    setImmediate(() => {
      this.#isCheckDue = false
      if (this.#busyCount === 0) this.#want()
    })
  }

  #want(): void {
    if (this.#state !== 'preparing') return
    this.#state = 'receiving'
    this.#timer = setTimeout(() => {
      this.fail(new Error(`The listeners did not come within ${this.#timeoutMs} ms`))
    }, this.#timeoutMs)
    this.#send({ t: 'want' })
  }

  /**
   * Every service is up. Resolves when all listeners have come; those that nobody took are closed then.
   *
   * @returns Those that were closed.
   */
  async complete(): Promise<InheritedListener[]> {
    this.#want()
    await this.#ended.promise
    const surplus: InheritedListener[] = []
    for (const listener of this.#arrived) {
      if (listener.isTaken) continue
      surplus.push(listener)
      listener.source.close()
      for (const socket of listener.accepted.splice(0)) socket.destroy()
    }
    return surplus
  }

  /**
   * Tells the old server that this one serves, and waits until that one has let go. Returns false if it has not and
   * goes on serving itself: then this server has to leave.
   *
   * @param path - `upgrade_sock`, where the old server can be asked what it knows.
   */
  async commit(path: string): Promise<boolean> {
    if (this.#failure !== undefined) throw this.#failure
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#onCommit = () => resolve(true)
    const onGone = () => resolve(false)
    this.#channel.off('disconnect', this.#onDisconnect)
    this.#channel.on('disconnect', onGone)
    const timer = setTimeout(onGone, COMMIT_TIMEOUT_MS)
    if (this.#channel.connected !== true) onGone()
    else this.#send({ t: 'ready', backlogs: this.#arrived.map((one) => this.#backlogs[one.index] ?? 0) })
    const isCommitted = await promise
    clearTimeout(timer)
    this.#channel.off('disconnect', onGone)
    this.#close()
    this.#isOwn = isCommitted || (await this.#isAbandoned(path))
    return this.#isOwn
  }

  /** No word came: the old server is asked. One that is gone, or drains, has left everything to this one. */
  async #isAbandoned(path: string): Promise<boolean> {
    await new Promise((settled) => setTimeout(settled, SETTLE_MS))
    // If nobody can tell, it is left to the one that has served so far.
    const answer = await pingUpgrade(path).catch((): 'silent' => 'silent')
    const isOldInCharge = answer === 'silent' || answer?.draining === false
    this.#logger.warn('The old server did not confirm the upgrade', { isOldInCharge })
    return !isOldInCharge
  }

  /**
   * Gives up, and says why to the old server. What no service has taken is closed; services that have taken a
   * listener are left to release and drain it.
   */
  fail(error: Error): void {
    if (this.#state === 'failed' || this.#isOwn) return
    this.#state = 'failed'
    this.#failure = error
    clearTimeout(this.#timer)
    this.#ended.reject(error)
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
    for (const listener of this.#arrived) {
      if (listener.isTaken) continue
      listener.source.close()
      for (const socket of listener.accepted.splice(0)) socket.destroy()
    }
    this.#send({ t: 'fail', err: error.message })
    this.#close()
  }

  #send(message: SuccessorMessage): void {
    if (this.#channel.connected !== true) return
    this.#channel.send?.(message, undefined, undefined, () => undefined)
  }

  #close(): void {
    this.#channel.off('message', this.#onMessage)
    this.#channel.off('disconnect', this.#onDisconnect)
    if (this.#channel.connected === true) this.#channel.disconnect?.()
  }

  #receive(received: unknown, handle: unknown): void {
    const message = received as HelperMessage
    if (message.t === 'commit') this.#onCommit?.()
    else if (this.#state !== 'receiving') return
    else if (message.t === 'state') this.#onState(message.state)
    else if (message.t === 'end') {
      clearTimeout(this.#timer)
      this.#state = 'received'
      for (const waiting of this.#waiting.splice(0)) waiting.resolve(undefined)
      this.#ended.resolve()
    } else if (message.t === 'fd') {
      if (handle instanceof Server || handle instanceof DatagramSocket) {
        this.#arrive(message.key, message.i, message.foreign === true, handle)
      } else this.fail(new Error(`The listener ${inspect(message.key)} came without its socket`))
    }
  }

  /** It accepts from now on; connections wait until a service takes it. */
  #arrive(key: string, index: number, isForeign: boolean, source: Server | DatagramSocket): void {
    const accepted: Socket[] = []
    const datagrams: ReceivedDatagram[] = []
    const listener: Arrived = {
      key,
      index,
      source,
      accepted,
      datagrams,
      isForeign,
      unpark:
        source instanceof Server
          ? this.#parkConnections(source, accepted, this.#pausedKeys.has(wholeKey(key)))
          : parkDatagrams(source, datagrams),
      isTaken: false,
      isOwn: () => this.#isOwn,
      setBacklog: (backlog) => {
        this.#backlogs[index] = backlog
      },
    }
    this.#arrived.push(listener)
    const waiting = this.#waiting.findIndex((one) => one.key === key)
    if (waiting !== -1) {
      this.#take(listener)
      this.#waiting.splice(waiting, 1)[0]?.resolve(listener)
    }
    this.#send({ t: 'got', i: index })
  }

  #parkConnections(server: Server, accepted: Socket[], pauses: boolean): () => void {
    if (pauses) Object.assign(server, { pauseOnConnect: true }) // an option of its constructor, which was not called
    const onConnection = (socket: Socket) => {
      socket.allowHalfOpen = true
      socket.on('error', ignore)
      if (this.#parkedCount >= this.#parkedMax) {
        socket.destroy()
        return
      }
      this.#parkedCount += 1
      accepted.push(socket)
    }
    server.on('connection', onConnection)
    return () => server.off('connection', onConnection)
  }

  #takeArrived(key: string): InheritedListener | undefined {
    const listener = this.#arrived.find((one) => one.key === key && !one.isTaken)
    if (listener !== undefined && this.#state !== 'failed') return this.#take(listener)
    return undefined
  }

  #take(listener: Arrived): InheritedListener {
    listener.isTaken = true
    this.#parkedCount -= listener.accepted.length
    listener.unpark()
    return listener
  }
}

function parkDatagrams(socket: DatagramSocket, datagrams: ReceivedDatagram[]): () => void {
  const onMessage = (message: Buffer, client: RemoteInfo) => {
    if (datagrams.length < PARKED_DATAGRAMS_MAX) datagrams.push({ message, client })
  }
  socket.on('message', onMessage)
  socket.on('error', ignore)
  return () => socket.off('message', onMessage)
}

function ignore(): void {}
