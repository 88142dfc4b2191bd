import type { Socket as DatagramSocket } from 'node:dgram'

/** What is used of the object that `node:dgram` keeps to itself. */
interface DatagramHandle {
  readonly fd: number
  recvStop(): void
}

/**
 * The descriptor of a bound UDP socket, for a successor; undefined where Node does not tell it.
 *
 * Node has no public way to ask for it, nor to stop reading without closing. Both are found by name and used only if
 * they are what is expected: without them UDP is not handed over, and nothing else changes.
 */
export function datagramDescriptor(socket: DatagramSocket): number | undefined {
  const fd = handleOf(socket)?.fd
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

/** Takes no more datagrams from the socket, which can still send: what comes is left to others that share it. */
export function stopReceiving(socket: DatagramSocket): boolean {
  const handle = handleOf(socket)
  handle?.recvStop()
  return handle !== undefined
}

function handleOf(socket: DatagramSocket): DatagramHandle | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  )
  if (symbol === undefined) return undefined
  const state = (socket as unknown as Record<symbol, { handle?: DatagramHandle | null } | undefined>)[symbol]
  const handle = state?.handle
  return typeof handle?.recvStop === 'function' ? handle : undefined
}
