import { once } from 'node:events'
import net, { type Socket } from 'node:net'

/** A client that sends exact bytes and keeps what it gets, as latin1 text. Destroyed at the end of its scope. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket
  received = ''
  /** The server has ended its side. */
  ended = false
  /** The connection was reset. */
  wasReset = false
  #wake: (() => void) | null = null

  constructor(port: number) {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    this.socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1')
      this.#wake?.()
    })
    this.socket.on('end', () => {
      this.ended = true
      this.#wake?.()
    })
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.wasReset = error.code === 'ECONNRESET'
    })
    this.socket.on('close', () => this.#wake?.())
  }

  send(text: string | Buffer): this {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    return this
  }

  /** Ends the client's side. */
  end(): this {
    this.socket.end()
    return this
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Waits until `done` holds; fails when the connection has ended without it. */
  async until(done: (received: string) => boolean, what: string): Promise<string> {
    while (!done(this.received)) {
      if (this.socket.closed || this.ended) throw new Error(`Ended before ${what}: ${this.received}`)
      await this.#change()
    }
    return this.received
  }

  /** Waits for `count` occurrences of `text`. */
  see(text: string, count: number = 1): Promise<string> {
    return this.until((received) => received.split(text).length > count, JSON.stringify(text))
  }

  /** Waits until the server has ended its side or the connection is gone; gives all that was received. */
  async rest(): Promise<string> {
    while (!this.ended && !this.socket.closed) await this.#change()
    return this.received
  }

  /** Forgets what was received so far. */
  clear(): this {
    this.received = ''
    return this
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = null
        resolve()
      }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.closed) return
    const closed = new Promise((resolve) => this.socket.once('close', resolve))
    this.socket.destroy()
    await closed
  }
}

/** Waits until the client is connected. */
export async function connectRaw(port: number): Promise<RawClient> {
  const client = new RawClient(port)
  await once(client.socket, 'connect')
  return client
}

/** Sends `text` on a connection of its own and gives all that came until the server ended it. */
export async function exchange(port: number, text: string): Promise<string> {
  await using client = await connectRaw(port)
  client.send(text)
  return await client.rest()
}

/** One turn of the event loop, input and output included. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
