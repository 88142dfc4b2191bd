import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/**
 * A body up to this many bytes is copied into the text that carries its head, so that both leave in one plain
 * write; from about here on a corked write of the two costs less (bench/response-write.bench.ts: 3.5 against
 * 3.2 us at 4 KiB, 5.7 against 3.9 at 10 KiB).
 */
export const TEXT_BODY_BYTES_MAX = 2_048

/**
 * So many chunks of a connection are passed on in one turn of the event loop: one read may bring ten thousand, and one
 * event 32 reads; 8 MiB in chunks of one byte would keep everybody else waiting for a second.
 */
export const RUNS_PER_TURN_MAX = 256

/**
 * Bytes that the kernel has taken so far. Grows within one long write too, unlike `bytesWritten`, for which
 * Node has no public name: it reads the same two fields for its own `setTimeout` of sockets.
 */
export function bytesTaken(socket: Duplex): number {
  const { bytesWritten = 0, _handle } = socket as Duplex & MeasuredSocket
  // TLS counts what it was given; what the kernel took of it, only the TCP handle below knows.
  const handle = _handle?._parent ?? _handle
  const handed = handle?.bytesWritten
  const queued = handle?.writeQueueSize
  if (handed === undefined || queued === undefined) return bytesWritten - socket.writableLength
  return handed - queued
}

/** Bytes that were written and that the kernel has not taken, in any queue of ours. */
export function bytesQueued(socket: Duplex): number {
  return socket.writableLength + ((socket as Duplex & MeasuredSocket)._handle?.writeQueueSize ?? 0)
}

interface MeasuredHandle {
  readonly bytesWritten?: number
  readonly writeQueueSize?: number
  readonly _parent?: MeasuredHandle | null
}

interface MeasuredSocket {
  readonly bytesWritten?: number
  readonly _handle?: MeasuredHandle | null
}

/** The newest Node.js whose TLS sockets were seen to do what {@link encryptsAtOnce} says. */
const KNOWN_NODE_MAJOR_MAX = 26

const isKnownNode: boolean = Number(process.versions.node.split('.')[0]) <= KNOWN_NODE_MAJOR_MAX

/**
 * True if a socket has done with the memory of a write when `write()` returns, provided that nothing was queued before:
 * TLS has encrypted it, or copied it where it cannot yet. The stream's own state does not say so, for every write to a
 * TLS socket ends in a later turn. Without this each body of a few KiB would use up 64 KiB of new memory, and collecting
 * that garbage took a third of the CPU time. `packages/core/test/tls-writes.test.ts` shows that it is so; on a Node.js
 * that is newer than we know, memory is never used again before the stream says so.
 */
export function encryptsAtOnce(socket: Duplex): boolean {
  return isKnownNode && socket.constructor === TLSSocket
}

/** What goes into one TLS write is gathered here; all connections of a thread share it. */
const gathered: Buffer = Buffer.allocUnsafeSlow(2 * 65_536)

/**
 * Writes text, bytes and text as one, so that they leave in as few TLS records and system calls as they can. A corked
 * write of the three would be copied twice. Only for a socket that {@link encryptsAtOnce} and has nothing queued.
 * Returns false, with nothing written, if it is too much for that.
 */
export function writeGathered(
  socket: Duplex,
  head: string,
  buffer: Buffer,
  start: number,
  end: number,
  tail: string,
): boolean {
  const size = head.length + end - start + tail.length
  if (size > gathered.length) return false
  gathered.write(head, 0, 'latin1')
  buffer.copy(gathered, head.length, start, end)
  if (tail !== '') gathered.write(tail, size - tail.length, 'latin1')
  socket.write(gathered.subarray(0, size))
  return true
}

/** Renders a flat list of trailer fields. */
export function trailersToWire(trailers: readonly string[]): string {
  let text = ''
  for (let i = 0; i + 1 < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`
  return text
}
