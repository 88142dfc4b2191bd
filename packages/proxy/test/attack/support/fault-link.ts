import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { cutConnection } from '@cirque/core'

/** What a link does to the bytes of one direction once `after` of them have passed. */
export interface Fault {
  readonly after: number
  /**
   * - `delay`: the rest waits for `ms`.
   * - `drip`: the next 30 bytes go one at a time.
   * - `stall`: nothing passes any more, and nothing is read.
   * - `hole`: what comes is read and lost.
   * - `half-close`: the direction ends here; the other goes on.
   * - `end`: both directions end in order.
   * - `reset`: both sides get RST.
   */
  readonly kind: 'delay' | 'drip' | 'stall' | 'hole' | 'half-close' | 'end' | 'reset'
  readonly ms: number
}

/** What happens to one connection; null passes everything. */
export interface Plan {
  readonly forth: Fault | null
  readonly back: Fault | null
}

/** A TCP relay that breaks connections as planned. Disposal cuts them all. */
export interface FaultLink extends AsyncDisposable {
  readonly port: number
  /** Connections that are open at its own listening side. */
  readonly open: () => number
}

/** Relays connections to `port`; `plan` is asked for each of them, before anything is connected. */
export async function startFaultLink(port: number, plan: () => Plan): Promise<FaultLink> {
  const sockets = new Set<Socket>()
  const watch = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  let open = 0
  const server: Server = createServer({ allowHalfOpen: true }, (near) => {
    open++
    near.on('close', () => open--)
    const far = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true })
    watch(near)
    watch(far)
    const { forth, back } = plan()
    new Direction(near, far, forth)
    new Direction(far, near, back)
    // Whoever is cut takes the other with it, as it was cut.
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => cutConnection(other))
      one.on('close', () => {
        if (!one.readableEnded) other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    open: () => open,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

/** Bytes on their way from one socket to another. */
class Direction {
  readonly #from: Socket
  readonly #to: Socket
  readonly #fault: Fault | null
  #passed = 0
  #struck = false
  #work: Promise<void> = Promise.resolve()

  constructor(from: Socket, to: Socket, fault: Fault | null) {
    this.#from = from
    this.#to = to
    this.#fault = fault
    if (fault?.after === 0) this.#work = this.#strike(fault, Buffer.alloc(0))
    from.on('data', (data: Buffer) => {
      from.pause()
      this.#work = this.#work.then(() => this.#pass(data)).then(() => void from.resume())
    })
    from.on('end', () => {
      this.#work = this.#work.then(() => void to.end())
    })
  }

  async #pass(data: Buffer): Promise<void> {
    const fault = this.#fault
    const before =
      fault === null || this.#struck ? data.length : Math.min(data.length, fault.after - this.#passed)
    this.#passed += before
    if (before > 0) await write(this.#to, data.subarray(0, before))
    if (fault === null || this.#struck || this.#passed < fault.after) return
    await this.#strike(fault, data.subarray(before))
  }

  async #strike(fault: Fault, rest: Buffer): Promise<void> {
    this.#struck = true
    const from = this.#from
    const to = this.#to
    switch (fault.kind) {
      case 'delay':
        await new Promise((resolve) => setTimeout(resolve, fault.ms))
        await write(to, rest)
        return
      case 'drip':
        for (let at = 0; at < Math.min(30, rest.length); at++) {
          await write(to, rest.subarray(at, at + 1))
          await new Promise((resolve) => setImmediate(resolve))
        }
        await write(to, rest.subarray(30))
        return
      case 'stall':
        await new Promise((resolve) => from.on('close', resolve))
        return
      case 'hole':
        from.removeAllListeners('data')
        from.on('data', () => undefined)
        return
      case 'half-close':
        to.end()
        from.removeAllListeners('data')
        from.on('data', () => undefined)
        return
      case 'end':
        to.end()
        from.end()
        from.removeAllListeners('data')
        from.on('data', () => undefined)
        return
      case 'reset':
        cutConnection(to)
        cutConnection(from)
    }
  }
}

/** Resolves once the socket takes more, or is gone. */
function write(to: Socket, bytes: Buffer): Promise<void> | void {
  if (bytes.length === 0 || !to.writable || to.write(bytes)) return
  return new Promise((resolve) => {
    const done = () => {
      to.off('drain', done)
      to.off('close', done)
      resolve()
    }
    to.on('drain', done)
    to.on('close', done)
  })
}
