import { Socket } from 'node:net'
import { sharedReadBuffer } from './read-buffer.ts'

/** What a read brought, in memory that the next read overwrites. Returns false to stop reading. */
export type SharedRead = (count: number, buffer: Buffer) => boolean

/** The parts of a socket that its own `onread` option sets. */
interface ReadInternals {
  readonly buffer: symbol
  readonly callback: symbol
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void
}

/**
 * Makes an accepted socket read into the memory that all connections share, as `onread` does for one that
 * connects. Returns false where that cannot be done: then its reads come as `data` events.
 *
 * Node has no public way to give `onread` to an accepted socket: `net.Server` makes it. Without one, each
 * read allocates 64 KiB and shrinks it, which is 4 to 8 % of what a small request costs the whole process. So
 * this sets what the option would have set. It touches nothing unless every part is where it is expected, and
 * only a plain TCP or Unix socket that nobody has begun to read. `packages/core/test/accepted-reads.test.ts`
 * tells when a new Node has moved the parts.
 */
export function readShared(socket: Socket, onRead: SharedRead): boolean {
  const handle = (socket as { _handle?: Handle | null })._handle
  if (
    sharedReadBuffer === null ||
    socket.constructor !== Socket ||
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
  parts[internals.buffer] = sharedReadBuffer
  parts[internals.callback] = onRead
  handle.useUserBuffer(sharedReadBuffer)
  socket.resume()
  return true
}

let internals: ReadInternals | null | undefined

/** The two fields, found by name among those that every socket has; null when they are not as expected. */
function findInternals(socket: Socket): ReadInternals | null {
  const symbols = Object.getOwnPropertySymbols(socket)
  const buffer = symbols.find((symbol) => symbol.description === 'kBuffer')
  const callback = symbols.find((symbol) => symbol.description === 'kBufferCb')
  const generator = symbols.find((symbol) => symbol.description === 'kBufferGen')
  if (buffer === undefined || callback === undefined || generator === undefined) return null
  const parts = socket as unknown as Record<symbol, unknown>
  if (parts[buffer] !== null || parts[callback] !== null || parts[generator] !== null) return null
  return { buffer, callback }
}
