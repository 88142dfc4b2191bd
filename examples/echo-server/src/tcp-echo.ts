import type { Socket } from 'node:net'
import type { ServerApp } from '@cirque/core'

const IDLE_TIMEOUT_MS = 60_000

/** Sends back what each client sends, until the client ends its side. */
export class TcpEcho implements ServerApp {
  readonly #sockets: Set<Socket> = new Set()

  onConnection(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy())
    // The pipe does the rest: it reads no faster than the client takes, and ends when the client has ended.
    socket.pipe(socket)
  }

  /** Nobody says when an echo is complete, so what has been read is the end of it. */
  startDraining(): void {
    for (const socket of this.#sockets) socket.destroySoon()
  }
}
