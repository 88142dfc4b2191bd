import { type OnReadOpts, Socket } from 'node:net'

/** The parts of a socket that its own `onread` option sets. */
interface ReadInternals {
  readonly buffer: symbol
  readonly callback: symbol
  readonly generator: symbol
}

interface Handle {
  useUserBuffer?(buffer: Uint8Array): void
}

let internals: ReadInternals | null | undefined

/**
 * Gives an accepted socket the `onread` option, which Node takes only for sockets that connect: `net.Server` makes the
 * others. Without it each read allocates, which more than doubles the cost of a long upload (bench/relay.bench.ts).
 *
 * Sets what the option would have set, if every part is where it is expected and nobody has begun to read. Returns
 * false where that cannot be done: then reads come as `data` events. The test tells when a new Node has moved the parts.
 */
export function readInto(
  socket: Socket,
  onread: OnReadOpts & { readonly buffer: () => Uint8Array },
): boolean {
  const handle = (socket as { _handle?: Handle | null })._handle
  if (
    process.platform === 'win32' || // the kernel fills buffers while JavaScript runs
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
  const first = onread.buffer()
  const parts = socket as unknown as Record<symbol, unknown>
  parts[internals.buffer] = first
  parts[internals.callback] = onread.callback
  parts[internals.generator] = onread.buffer
  handle.useUserBuffer(first)
  return true
}

/** The fields, found by name among those that every socket has; null when they are not as expected. */
function findInternals(socket: Socket): ReadInternals | null {
  const symbols = Object.getOwnPropertySymbols(socket)
  const named = (name: string) => symbols.find(({ description }) => description === name)
  const [buffer, callback, generator] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')]
  if (buffer === undefined || callback === undefined || generator === undefined) return null
  const parts = socket as unknown as Record<symbol, unknown>
  if (parts[buffer] !== null || parts[callback] !== null || parts[generator] !== null) return null
  return { buffer, callback, generator }
}
