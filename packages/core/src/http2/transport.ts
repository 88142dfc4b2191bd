import type { Duplex } from 'node:stream'
import {
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from '../sessions/write-result.ts'

/** What goes into one TLS write is gathered here; all connections of a thread share it. */
const gathered: Buffer = Buffer.allocUnsafeSlow(5 * 65_536)

/**
 * Writes what an HTTP/2 connection has for its transport, as one write.
 *
 * @param encrypts - The socket has done with the memory of a write when it returns; see `encryptsAtOnce`.
 */
export function writeChunks(socket: Duplex, chunks: readonly Buffer[], encrypts: boolean): WriteResult {
  if (socket.destroyed || socket.writableEnded) return WRITE_DONE
  const queued = socket.writableLength > 0
  if (chunks.length === 1) socket.write(chunks[0])
  else if (!encrypts || queued || !writeGathered(socket, chunks)) {
    socket.cork()
    for (const chunk of chunks) socket.write(chunk)
    socket.uncork()
  }
  if (socket.writableLength === 0) return WRITE_DONE
  if (encrypts && !queued) return socket.writableNeedDrain ? WRITE_PAUSE : WRITE_DONE
  return socket.writableNeedDrain ? WRITE_FULL : WRITE_RETAINED
}

/** A corked TLS write of several pieces would be copied twice. False, with nothing written, if they are too much. */
function writeGathered(socket: Duplex, chunks: readonly Buffer[]): boolean {
  let size = 0
  for (const chunk of chunks) size += chunk.length
  if (size > gathered.length) return false
  let at = 0
  for (const chunk of chunks) at += chunk.copy(gathered, at)
  socket.write(gathered.subarray(0, size))
  return true
}
