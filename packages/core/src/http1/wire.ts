import type { Duplex } from 'node:stream'

/**
 * A body up to this many bytes is copied into the text that carries its head, so that both leave in one plain
 * write; from about here on a corked write of the two costs less (bench/response-write.bench.ts: 3.5 against
 * 3.2 us at 4 KiB, 5.7 against 3.9 at 10 KiB).
 */
export const TEXT_BODY_BYTES_MAX = 2_048

/**
 * A connection whose read brought more chunks than this is read again only in the next turn of the event loop:
 * one event may bring 32 reads, and 8 MiB in chunks of one byte would keep everybody else waiting for a second.
 */
export const RUNS_PER_TURN_MAX = 1_024

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

/** Renders a flat list of trailer fields. */
export function trailersToWire(trailers: readonly string[]): string {
  let text = ''
  for (let i = 0; i + 1 < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`
  return text
}
