import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Takes what a read brought: `count` bytes from the start of `buffer`. Returns false to stop reading. */
export type ReadCallback = (count: number, buffer: Buffer) => boolean

/** The parts of a socket that its own `onread` option sets. */
interface ReadInternals {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void
}

/**
 * Makes an accepted socket read into memory of the caller's, as the `onread` option of Node.js does for one that
 * connects. The caller then resumes the socket. Returns false, with nothing changed, where that cannot be done: then
 * reads come as `data` events.
 *
 * Node.js has no public way to give `onread` to an accepted socket: its servers make them. Without one, each read
 * allocates 64 KiB and shrinks it: 4 to 8 % of what a small request costs the whole process, and more than half of a
 * long upload (`packages/stream-proxy/bench/relay.bench.ts`). So this sets what the option would have set. It touches
 * nothing unless every part is where it is expected, and only a plain or TLS socket that nobody has begun to read.
 * `packages/core/test/accepted-reads.test.ts` tells when a new Node.js has moved the parts.
 *
 * Called again for the same socket it only changes who takes the reads; the memory stays.
 *
 * @param buffer - What every read goes into, or a function that is called after each read for the next one's.
 * @param onRead - Called for each read. The next one overwrites the buffer, unless a function gives another. A TLS
 *   socket goes on to deliver what it has decrypted, up to 64 KiB, after a false and after `pause()`.
 */
export function readInto(socket: Socket, buffer: Buffer | (() => Buffer), onRead: ReadCallback): boolean {
  if (internals != null && takenOver.has(socket)) {
    ;(socket as unknown as Record<symbol, unknown>)[internals.callback] = onRead
    return true
  }
  const handle = (socket as { _handle?: Handle | null })._handle
  if (
    process.platform === 'win32' || // the kernel fills buffers while JavaScript runs
    (socket.constructor !== Socket && socket.constructor !== TLSSocket) ||
    typeof handle?.useUserBuffer !== 'function' ||
    socket.readableLength > 0 ||
    socket.readableFlowing === true ||
    socket.destroyed ||
    socket.listenerCount('data') + socket.listenerCount('readable') > 0
  ) {
    return false
  }
  internals ??= findInternals(socket)
  if (internals === null) return false
  const parts = socket as unknown as Record<symbol, unknown>
  const first = typeof buffer === 'function' ? buffer() : buffer
  parts[internals.buffer] = first
  parts[internals.callback] = onRead
  if (typeof buffer === 'function') parts[internals.generator] = buffer
  handle.useUserBuffer(first)
  takenOver.add(socket)
  return true
}

/** Sockets that read so already: who takes what they read may change, and nothing else. */
const takenOver: WeakSet<Socket> = new WeakSet()

let internals: ReadInternals | null | undefined

/** The fields, found by name among those that every socket has; null when they are not as expected. */
function findInternals(socket: Socket): ReadInternals | null {
  const symbols = Object.getOwnPropertySymbols(socket)
  const named = (name: string): symbol | undefined => symbols.find(({ description }) => description === name)
  const [buffer, callback, generator] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')]
  if (buffer === undefined || callback === undefined || generator === undefined) return null
  const parts = socket as unknown as Record<symbol, unknown>
  if (parts[buffer] !== null || parts[callback] !== null || parts[generator] !== null) return null
  return { buffer, callback, generator }
}
