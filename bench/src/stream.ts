import { once } from 'node:events'
import type { Socket } from 'node:net'

/** Length of what a client of the relay test says first. */
export const COMMAND_BYTES = 32

const BLOCK = Buffer.alloc(256 * 1024)

/** Writes so many zeros, as fast as they are taken, then ends the socket's side. */
export async function sendBytes(socket: Socket, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += BLOCK.length) {
    const block = bytes - sent < BLOCK.length ? BLOCK.subarray(0, bytes - sent) : BLOCK
    if (!socket.write(block)) await once(socket, 'drain')
  }
  socket.end()
}
