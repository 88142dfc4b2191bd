// Clients that count every answer and every loss while servers take over from each other. Raw sockets: nothing is
// tried again behind our back, and each failure has a name.
import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { createConnection, type NetConnectOpts, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'

/** Bytes of the body of `/slow`, which takes about 0.7 s. */
export const DOWNLOAD_BYTES: number = 1_048_576

const ANSWER_TIMEOUT_MS: number = 15_000

export interface UpgradeLoadOptions {
  /** Where to, one client of each kind for each address. */
  readonly targets: readonly UpgradeTarget[]
  /** New connections per second at each target. */
  readonly newPerSecond: number
  readonly keepAliveClients: number
  readonly downloads: number
}

export interface UpgradeTarget {
  readonly to: NetConnectOpts
  readonly tls?: boolean
  /** One more client of each TLS target speaks HTTP/2. */
  readonly http2?: boolean
}

export interface UpgradeLoadResult {
  readonly newConnections: number
  readonly keepAliveRequests: number
  readonly downloads: number
  readonly tlsResumed: number
  readonly tlsFull: number
  readonly http2Requests: number
  /** Not taken by a server that ends its connection, and sent again, as RFC 9113 §8.7 allows. */
  readonly http2Refused: number
  /** The generations that answered. */
  readonly generations: readonly string[]
  /** One line per loss. */
  readonly failures: readonly string[]
}

/** Starts the clients; `stop()` lets each finish what it does and tells what happened. */
export class UpgradeLoad {
  readonly #options: UpgradeLoadOptions
  readonly #clients: Promise<void>[] = []
  readonly #generations: Set<string> = new Set()
  readonly #failures: string[] = []
  readonly #sessions: Map<UpgradeTarget, Buffer> = new Map()
  #isStopping = false
  #newConnections = 0
  #keepAliveRequests = 0
  #downloads = 0
  #tlsResumed = 0
  #tlsFull = 0
  #http2Requests = 0
  #http2Refused = 0

  constructor(options: UpgradeLoadOptions) {
    this.#options = options
    for (const target of options.targets) {
      this.#clients.push(this.#connectOften(target))
      if (target.http2 === true) this.#clients.push(this.#loop('http2', () => this.#http2(target)))
      for (let count = 0; count < options.keepAliveClients; count += 1) {
        this.#clients.push(this.#loop('keep-alive', () => this.#keepAlive(target)))
      }
      for (let count = 0; count < options.downloads; count += 1) {
        this.#clients.push(this.#loop('download', () => this.#download(target)))
      }
    }
  }

  async stop(): Promise<UpgradeLoadResult> {
    this.#isStopping = true
    await Promise.all(this.#clients)
    return {
      newConnections: this.#newConnections,
      keepAliveRequests: this.#keepAliveRequests,
      downloads: this.#downloads,
      tlsResumed: this.#tlsResumed,
      tlsFull: this.#tlsFull,
      http2Requests: this.#http2Requests,
      http2Refused: this.#http2Refused,
      generations: [...this.#generations].sort(),
      failures: this.#failures,
    }
  }

  async #loop(kind: string, once: () => Promise<void>): Promise<void> {
    while (!this.#isStopping) await this.#tell(kind, once())
  }

  async #tell(kind: string, work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      this.#failures.push(`${kind}: ${code ?? message}`)
      await delay(20) // a server that is gone would be asked in a tight loop
    }
  }

  async #connectOften(target: UpgradeTarget): Promise<void> {
    const running = new Set<Promise<void>>()
    const begun = performance.now()
    for (let count = 0; !this.#isStopping; ) {
      await delay(4)
      const due = ((performance.now() - begun) / 1000) * this.#options.newPerSecond
      for (; count < due; count += 1) {
        const one = this.#tell('new', this.#oneRequest(target)).finally(() => running.delete(one))
        running.add(one)
      }
    }
    await Promise.all(running)
  }

  async #oneRequest(target: UpgradeTarget): Promise<void> {
    const client = await this.#connect(target)
    await client.ask('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    this.#newConnections += 1
    this.#sawGeneration(client.body)
    client.socket.destroy()
  }

  async #keepAlive(target: UpgradeTarget): Promise<void> {
    const client = await this.#connect(target)
    while (!this.#isStopping) {
      await client.ask('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      this.#keepAliveRequests += 1
      this.#sawGeneration(client.body)
      if (/^connection: close\r$/im.test(client.head)) break
      await delay(10 + Math.random() * 30)
    }
    client.socket.destroy()
  }

  async #download(target: UpgradeTarget): Promise<void> {
    const client = await this.#connect(target)
    await client.ask('GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    if (client.body.length !== DOWNLOAD_BYTES || client.body.includes('y')) throw new Error('wrong body')
    this.#downloads += 1
    client.socket.destroy()
  }

  /** One connection, until its server ends it. */
  async #http2(target: UpgradeTarget): Promise<void> {
    const { port } = target.to as { port: number }
    const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
    let failure: Error | undefined
    session.on('error', (error) => {
      failure = error
    })
    await once(session, 'connect')
    try {
      while (!this.#isStopping && !session.closed && !session.destroyed) {
        const stream = session.request({ ':path': '/' })
        let body = ''
        stream.setEncoding('utf8').on('data', (data) => {
          body += String(data)
        })
        stream.on('error', () => undefined)
        // Not once(): it rejects at the error that a refused stream ends with.
        await new Promise((resolve) => stream.on('close', resolve))
        if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) this.#http2Refused += 1
        else if (stream.rstCode !== 0 || !body.endsWith('\n'))
          throw failure ?? new Error(`reset ${stream.rstCode}`)
        else {
          this.#http2Requests += 1
          this.#sawGeneration(body)
        }
        await delay(5)
      }
    } finally {
      session.destroy()
    }
  }

  async #connect(target: UpgradeTarget): Promise<LoadClient> {
    if (target.tls !== true) {
      const socket = createConnection(target.to)
      await once(socket, 'connect')
      return new LoadClient(socket)
    }
    const session = this.#sessions.get(target)
    const socket = connectTls({ ...target.to, rejectUnauthorized: false, ...(session && { session }) })
    socket.on('session', (ticket) => this.#sessions.set(target, ticket))
    await once(socket, 'secureConnect')
    if (socket.isSessionReused()) this.#tlsResumed += 1
    else this.#tlsFull += 1
    return new LoadClient(socket)
  }

  #sawGeneration(body: string): void {
    const generation = /gen=(\d+)/.exec(body)?.[1]
    if (generation !== undefined) this.#generations.add(generation)
  }
}

/** One connection that reads responses with a Content-Length. */
class LoadClient {
  readonly socket: Socket
  head = ''
  body = ''
  #received = ''
  #onProgress: (error?: Error) => void = () => undefined
  #failure: Error | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (data) => {
      this.#received += String(data)
      this.#onProgress()
    })
    const fail = (error: Error) => {
      this.#failure ??= error
      this.#onProgress()
    }
    socket.on('error', fail)
    socket.on('end', () => fail(new Error('end before the whole answer')))
    socket.on('close', () => fail(new Error('closed before the whole answer')))
  }

  /** Sends a request and waits for the whole answer. A connection that closed while idle loses nothing. */
  ask(request: string): Promise<void> {
    this.#received = ''
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => reject(new Error('no answer in time')), ANSWER_TIMEOUT_MS)
    this.#onProgress = () => {
      const end = this.#received.indexOf('\r\n\r\n')
      const length = Number(/^content-length: (\d+)\r$/im.exec(this.#received.slice(0, end + 2))?.[1])
      if (end !== -1 && this.#received.length >= end + 4 + length) {
        this.head = this.#received.slice(0, end + 2)
        this.body = this.#received.slice(end + 4)
        if (this.body.length > length || !this.head.startsWith('HTTP/1.1 200'))
          reject(new Error('wrong answer'))
        resolve()
      } else if (this.#failure !== undefined) reject(this.#failure)
    }
    this.socket.write(request)
    return promise.finally(() => {
      clearTimeout(timer)
      this.#onProgress = () => undefined
    })
  }
}
