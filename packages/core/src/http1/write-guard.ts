import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

type WriteCallback = (error?: Error | null) => void

/**
 * Lets a failed write of a socket leave its reads alone.
 *
 * A peer may answer and close while it is still written to. The next write then fails, and a stream whose write
 * fails destroys itself: with it goes the answer, which the kernel still holds. So the stream is told that all
 * went well, the owner is told what happened, and everything written from then on is dropped.
 *
 * A writable stream hands its chunks to `_write` and `_writev` and hears through their callback how it went; as
 * with a stream made from functions, these two are the socket's own.
 *
 * @param onError - Called once, with the first failure; `refused` when nothing of that write was taken.
 */
export function guardWrites(socket: Socket, onError: (error: Error, refused: boolean) => void): void {
  const write = socket._write
  const writev = socket._writev as NonNullable<Socket['_writev']>
  // TLS makes records of its own: what became of a write is not known.
  const mayRefuse = !(socket instanceof TLSSocket)
  let broken = false
  let within = false
  // A stream passes the same callback each time: one more function per socket, none per write.
  let callback: WriteCallback = () => undefined
  const settle: WriteCallback = (error) => {
    if (error !== null && error !== undefined && !broken) {
      broken = true
      // Told within the call: the kernel took no byte of it.
      onError(error, within && mayRefuse)
    }
    callback()
  }
  socket._write = (chunk, encoding, done) => {
    if (broken) return done()
    callback = done
    within = true
    write.call(socket, chunk, encoding, settle)
    within = false
  }
  socket._writev = (chunks, done) => {
    if (broken) return done()
    callback = done
    within = true
    writev.call(socket, chunks, settle)
    within = false
  }
}
