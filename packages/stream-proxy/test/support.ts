import { once } from 'node:events'
import {
  type AddressInfo,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type Socket,
} from 'node:net'
import {
  createConfiguration,
  type Service,
  type ServiceContext,
  silentLogger,
  type TcpAddress,
} from '@cirque/core'

/** A context for starting a service without a server. */
export function testContext(): ServiceContext {
  return {
    configuration: createConfiguration(),
    logger: silentLogger,
    shutdown: new AbortController().signal,
  }
}

/** A raw TCP upstream; disposal waits until every connection has closed, so a leak fails the test. */
export class Upstream implements AsyncDisposable {
  readonly server: Server
  readonly sockets: Socket[] = []

  private constructor(onSocket: (socket: Socket) => void) {
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.push(socket)
      socket.on('error', () => undefined)
      onSocket(socket)
    })
  }

  static async start(onSocket: (socket: Socket) => void): Promise<Upstream> {
    const upstream = new Upstream(onSocket)
    upstream.server.listen(0, '127.0.0.1')
    await once(upstream.server, 'listening')
    return upstream
  }

  static echo(): Promise<Upstream> {
    return Upstream.start((socket) => void socket.pipe(socket))
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close()
    await Promise.all(
      this.sockets
        .filter((socket) => !socket.closed)
        .map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    )
  }
}

interface Listening extends Service {
  endpoints(): readonly { readonly kind: string }[]
}

/** Starts a service; drains it without patience at the end of the scope. */
export class Running<S extends Listening> implements AsyncDisposable {
  readonly service: S

  private constructor(service: S) {
    this.service = service
  }

  static async start<S extends Listening>(service: S): Promise<Running<S>> {
    await service.start(testContext())
    return new Running(service)
  }

  port(index: number = 0): number {
    return (this.service.endpoints()[index] as TcpAddress).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drained = this.service.drain()
    this.service.destroy()
    await drained
  }
}

/** A client that keeps what it gets. Destroyed at the end of its scope. */
export class Client implements AsyncDisposable {
  readonly socket: Socket
  readonly closed: Promise<void>
  received = ''
  ended = false
  wasReset = false
  #wake: (() => void) | null = null

  constructor(options: NetConnectOpts) {
    this.socket = connect({ allowHalfOpen: true, noDelay: true, ...options } as NetConnectOpts)
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.wasReset = error.code === 'ECONNRESET'
    })
    this.socket.on('data', (data) => {
      this.received += String(data)
      this.#wake?.()
    })
    this.socket.on('end', () => {
      this.ended = true
      this.#wake?.()
    })
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        resolve()
        this.#wake?.()
      })
    })
  }

  static to(running: { port(): number }): Client {
    return new Client({ host: '127.0.0.1', port: running.port() })
  }

  /** Waits until `count` characters have come; fails if the connection ends before. */
  async take(count: number): Promise<string> {
    while (this.received.length < count) {
      if (this.ended || this.socket.closed) throw new Error(`Ended after ${JSON.stringify(this.received)}`)
      await this.#change()
    }
    return this.received
  }

  /** Waits for the other side's end. */
  async rest(): Promise<string> {
    while (!this.ended && !this.socket.closed) await this.#change()
    return this.received
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.closed
  }
}

/** Waits, turn by turn of the event loop, until `done` holds. */
export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve))
}
