import { readFileSync, readlinkSync } from 'node:fs'
import { endianness } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { parseAddress } from '../address.ts'
import { childProcesses } from '../lazy-modules.ts'
import type { Logger } from '../logger.ts'
import type { InheritedListener } from './service.ts'
import type { ListenerSource } from './service-runner.ts'

/** sd_listen_fds(3): the first descriptor that systemd passes. */
const FIRST_FD: number = 3
/** More than any socket unit has; a larger `LISTEN_FDS` is taken for nonsense. */
const FDS_MAX: number = 4096
const NOTIFY_TIMEOUT_MS: number = 5000
const ADOPTION_TIMEOUT_MS: number = 2000
const ADOPTION_POLL_MS: number = 5

const startedByPid: number = process.ppid

/** What systemd passed and nobody took, by address: one process has one environment. */
const unclaimed: Map<string, number[]> = new Map()

/**
 * The sockets of systemd's socket activation, by the address each is bound to; `undefined` if there are none. They
 * listen already: connections that come while the server restarts wait in their queues.
 *
 * @throws {Error} If a descriptor that systemd announced is not a TCP or Unix socket.
 */
export function activatedListeners(): ListenerSource | undefined {
  for (const fd of announcedFds()) {
    const address = addressOf(fd)
    unclaimed.set(address, [...(unclaimed.get(address) ?? []), fd])
  }
  // Neither another server of this process nor a child must take them for its own.
  for (const name of ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']) delete process.env[name]
  if (unclaimed.size === 0) return undefined
  return { beginService: () => ({ listeners: { take: async (key) => takeActivated(key) }, settle() {} }) }
}

/** Connections to these would wait for ever. */
export function warnOfUnclaimed(logger: Logger): void {
  const addresses = [...unclaimed.keys()]
  if (addresses.length > 0) logger.warn('Sockets of systemd belong to no listener', { addresses })
}

function takeActivated(key: string): InheritedListener | undefined {
  const fds = unclaimed.get(key)
  const fd = fds?.shift()
  if (fds?.length === 0) unclaimed.delete(key)
  if (fd === undefined) return undefined
  return {
    key,
    source: fd,
    accepted: [],
    datagrams: [],
    isForeign: true, // systemd made the file of a Unix socket, and removes it
    isOwn: () => false,
    setBacklog() {},
  }
}

function announcedFds(): number[] {
  const { env: environment, pid } = process
  if (environment['LISTEN_PID'] !== String(pid)) return [] // for another process, or none
  const count = Number(environment['LISTEN_FDS'])
  if (!Number.isSafeInteger(count) || count < 1 || count > FDS_MAX) return []
  return Array.from({ length: count }, (_, index) => FIRST_FD + index)
}

/** Node tells the address of a socket only once it accepts on it, and of a Unix socket never; the kernel does. */
function addressOf(fd: number): string {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]
  if (inode === undefined) throw new Error(`Descriptor ${fd}, which LISTEN_FDS announces, is not a socket`)
  for (const [table, parse] of TABLES) {
    for (const row of readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1)) {
      const address = parse(row.trim().split(/\s+/), inode)
      if (address === undefined) continue
      const { text } = parseAddress(address)
      return table.startsWith('udp') ? `udp:${text}` : text
    }
  }
  throw new Error(
    `Descriptor ${fd}, which LISTEN_FDS announces, is neither a TCP, a UDP nor a Unix stream socket`,
  )
}

type ParseRow = (columns: readonly string[], inode: string) => string | undefined

/** proc(5): `sl local_address rem_address st … inode`, and `Num RefCount Protocol Flags Type St Inode Path`. */
const TABLES: readonly (readonly [string, ParseRow])[] = [
  ['tcp', (columns, inode) => (columns[9] === inode ? inetAddress(columns[1] ?? '') : undefined)],
  ['tcp6', (columns, inode) => (columns[9] === inode ? inetAddress(columns[1] ?? '') : undefined)],
  ['udp', (columns, inode) => (columns[9] === inode ? inetAddress(columns[1] ?? '') : undefined)],
  ['udp6', (columns, inode) => (columns[9] === inode ? inetAddress(columns[1] ?? '') : undefined)],
  [
    'unix',
    (columns, inode) =>
      columns[6] === inode && columns[7] !== undefined ? `unix:${columns.slice(7).join(' ')}` : undefined,
  ],
]

/** `0100007F:1F90` is 127.0.0.1:8080: words of 32 bits in the machine's order, the port in plain hexadecimal. */
function inetAddress(text: string): string {
  const [host = '', port = ''] = text.split(':')
  const bytes = Buffer.from(host, 'hex')
  if (endianness() === 'LE') bytes.swap32()
  const number = Number.parseInt(port, 16)
  if (bytes.length === 4) return `${[...bytes].join('.')}:${number}`
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16))
  return `[${groups.join(':')}]:${number}`
}

/**
 * Tells systemd of a `Type=notify` service, through `systemd-notify`, as Node cannot write to its kind of socket.
 * Does nothing if `NOTIFY_SOCKET` is not set; a failure is logged. The unit needs `NotifyAccess=all`.
 *
 * @param isSuccessor - Wait for the launcher to end: a main process that is not systemd's own child would be cut
 *   short at the stop of the service.
 */
export async function notifySystemd(
  state: 'READY=1' | 'STOPPING=1',
  isSuccessor: boolean,
  logger: Logger,
): Promise<void> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return
  const until = performance.now() + ADOPTION_TIMEOUT_MS
  while (isSuccessor && process.ppid === startedByPid && performance.now() < until)
    await delay(ADOPTION_POLL_MS)
  const { promise, resolve } = Promise.withResolvers<void>()
  const argv = ['--no-block', `--pid=${process.pid}`, state]
  childProcesses().execFile('systemd-notify', argv, { timeout: NOTIFY_TIMEOUT_MS }, (error) => {
    if (error !== null) logger.warn('Cannot notify systemd', { state, error })
    resolve()
  })
  await promise
}
