import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect as connectTcp, isIP, isIPv6, Socket } from 'node:net'
import { hostname } from 'node:os'
import { type ConnectionOptions, connect as connectTls, createSecureContext } from 'node:tls'
import { inspect } from 'node:util'
import { integer, rejectUnknown, suggest } from './check.ts'
import type { DestinationStats, LogDestination } from './destination.ts'

const FACILITIES = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const
const SEVERITIES = { emerg: 0, alert: 1, crit: 2, err: 3, warning: 4, notice: 5, info: 6, debug: 7 } as const

/** RFC 5424 §6.2.1, by the names of syslog.conf. */
export type SyslogFacility = keyof typeof FACILITIES
/** RFC 5424 §6.2.1. */
export type SyslogSeverity = keyof typeof SEVERITIES

/** Options of {@link syslogDestination}. */
export interface SyslogDestinationOptions {
  /** `unix` is a stream socket: Node.js has no datagrams on Unix sockets. */
  readonly transport: 'udp' | 'tcp' | 'tls' | 'unix'
  /** Default `127.0.0.1`; for `udp` an IP address. Not for `unix`. */
  readonly host?: string
  /** Default 514 for UDP, 601 for TCP, 6514 for TLS. */
  readonly port?: number
  /** The socket's path, for `unix` only. */
  readonly path?: string
  /** For `tls` only: `ca`, `cert`, `key`, `servername`, … of `tls.connect`. Certificates are checked by default. */
  readonly tls?: ConnectionOptions
  /** Default `local7`, as nginx has it. */
  readonly facility?: SyslogFacility
  /** Default `info`. */
  readonly severity?: SyslogSeverity
  /** Default: the machine's name. */
  readonly hostname?: string
  /** Default `cirque`. */
  readonly appName?: string
  /** Messages that wait for the receiver, in bytes; beyond it they are dropped and counted. Default 1 MiB. */
  readonly bufferBytesMax?: number
  /** Longer messages are cut. Default 2,048 for UDP (RFC 5426 §3.2), else 8,192. */
  readonly messageBytesMax?: number
  /** Default 5,000. Not for `udp`. */
  readonly connectTimeoutMs?: number
  /** The wait before the first reconnect, in milliseconds; it doubles up to 30 s. Default 500. Not for `udp`. */
  readonly reconnectDelayMs?: number
}

const OPTION_NAMES = [
  'transport',
  'host',
  'port',
  'path',
  'tls',
  'facility',
  'severity',
  'hostname',
  'appName',
  'bufferBytesMax',
  'messageBytesMax',
  'connectTimeoutMs',
  'reconnectDelayMs',
]
const PORTS = { udp: 514, tcp: 601, tls: 6514, unix: 0 } as const
const RECONNECT_DELAY_MAX_MS = 30_000

/**
 * Sends lines to a syslog receiver as messages of RFC 5424: one per datagram (RFC 5426), or on a stream with their
 * length in front (RFC 5425, RFC 6587 §3.4.1). A stream that breaks is connected again, and what waits is kept.
 *
 * @throws {TypeError | RangeError} If an option is unknown or wrong.
 */
export function syslogDestination(options: SyslogDestinationOptions): LogDestination {
  rejectUnknown(options, OPTION_NAMES, 'the syslog destination')
  const { transport } = options
  if (!Object.hasOwn(PORTS, transport)) {
    throw new TypeError(
      `transport must be one of ${Object.keys(PORTS).join(', ')}, received "${String(transport)}"`,
    )
  }
  if ((transport === 'unix') !== (options.path !== undefined)) {
    throw new TypeError('path belongs to the transport "unix", which needs it')
  }
  if (transport !== 'tls' && options.tls !== undefined)
    throw new TypeError('tls belongs to the transport "tls"')
  checkAddress('host', options.host)
  checkAddress('path', options.path)
  return transport === 'udp' ? new UdpDestination(options) : new StreamDestination(options)
}

function checkAddress(option: 'host' | 'path', value: unknown): void {
  if (value === undefined || (typeof value === 'string' && value !== '' && !value.includes('\0'))) return
  throw new TypeError(`${option} must be a string with something in it, received ${inspect(value)}`)
}

/** The fixed parts of every message, and its bound. */
class MessageFormat {
  readonly #before: string
  readonly #after: string
  readonly #bytesMax: number

  constructor(options: SyslogDestinationOptions) {
    const { facility = 'local7', severity = 'info' } = options
    const priority = code('facility', FACILITIES, facility) * 8 + code('severity', SEVERITIES, severity)
    const host = header('hostname', options.hostname ?? machineName(), 255)
    const app = header('appName', options.appName ?? 'cirque', 48)
    this.#before = `<${priority}>1 `
    this.#after = ` ${host} ${app} ${process.pid} - - `
    const fallback = options.transport === 'udp' ? 2_048 : 8_192
    this.#bytesMax = integer('messageBytesMax', options.messageBytesMax ?? fallback, 480, 65_507)
  }

  message(line: string): Buffer {
    const text = Buffer.from(`${this.#before}${new Date().toISOString()}${this.#after}${line}`)
    return text.length > this.#bytesMax ? text.subarray(0, this.#bytesMax) : text
  }
}

class UdpDestination implements LogDestination {
  readonly #socket: UdpSocket
  readonly #format: MessageFormat
  readonly #host: string
  readonly #port: number
  readonly #bufferBytesMax: number
  #waitingBytes = 0
  #waitingLines = 0
  /** Of what was sent before the socket last failed as a whole nobody hears any more. */
  #failures = 0
  #writtenCount = 0
  #droppedCount = 0
  #isClosed = false
  #isReleased = false
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: SyslogDestinationOptions) {
    this.#format = new MessageFormat(options)
    this.#host = options.host ?? '127.0.0.1'
    if (isIP(this.#host) === 0) {
      // A name would be looked up for every message.
      throw new TypeError(`host must be an IP address for UDP, received "${this.#host}"`)
    }
    this.#port = integer('port', options.port ?? PORTS.udp, 1, 65_535)
    this.#bufferBytesMax = bufferBytesMax(options)
    this.#socket = createSocket(isIPv6(this.#host) ? 'udp6' : 'udp4')
    this.#socket.on('error', () => this.#failed()) // it could not be bound
    this.#socket.unref()
  }

  write(line: string): boolean {
    const message = this.#format.message(line)
    if (this.#isClosed || this.#waitingBytes + message.length > this.#bufferBytesMax) {
      this.#droppedCount++
      return false
    }
    const failures = this.#failures
    this.#waitingBytes += message.length
    this.#waitingLines++
    this.#socket.send(message, this.#port, this.#host, (error) => {
      if (failures === this.#failures) this.#settled(message.length, error === null)
    })
    return true
  }

  #settled(bytes: number, isSent: boolean): void {
    this.#waitingBytes -= bytes
    this.#waitingLines--
    if (isSent) this.#writtenCount++
    else this.#droppedCount++
    if (this.#isClosed && this.#waitingLines === 0) this.#release()
  }

  /** Node.js forgets what waited for the socket to be bound, and tells nobody. */
  #failed(): void {
    this.#failures++
    this.#droppedCount += this.#waitingLines
    this.#waitingBytes = 0
    this.#waitingLines = 0
    if (this.#isClosed) this.#release()
  }

  reopen(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#isClosed = true
    if (this.#waitingLines === 0) this.#release()
    return this.#closed.promise
  }

  destroy(): void {
    this.#isClosed = true
    if (this.#waitingLines > 0) this.#failed()
    this.#release()
  }

  stats(): DestinationStats {
    return {
      writtenCount: this.#writtenCount,
      droppedCount: this.#droppedCount,
      waitingBytes: this.#waitingBytes,
    }
  }

  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#socket.close(() => this.#closed.resolve())
  }
}

class StreamDestination implements LogDestination {
  readonly #options: SyslogDestinationOptions
  readonly #format: MessageFormat
  readonly #bufferBytesMax: number
  readonly #connectTimeoutMs: number
  readonly #reconnectDelayMs: number
  readonly #port: number
  #socket: Socket | null = null
  #isConnected = false
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #batchBytes = 0
  #batchLines = 0
  #writtenCount = 0
  #droppedCount = 0
  #delayMs: number
  #timer: NodeJS.Timeout | null = null
  #isClosed = false
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(options: SyslogDestinationOptions) {
    this.#options = options
    this.#format = new MessageFormat(options)
    this.#bufferBytesMax = bufferBytesMax(options)
    this.#connectTimeoutMs = integer('connectTimeoutMs', options.connectTimeoutMs ?? 5_000, 1, 600_000)
    this.#reconnectDelayMs = integer('reconnectDelayMs', options.reconnectDelayMs ?? 500, 1, 30_000)
    this.#port =
      options.transport === 'unix' ? 0 : integer('port', options.port ?? PORTS[options.transport], 1, 65_535)
    this.#delayMs = this.#reconnectDelayMs
    if (options.tls !== undefined) createSecureContext(options.tls) // which throws for what could never be used
  }

  write(line: string): boolean {
    const message = this.#format.message(line)
    if (this.#isClosed || this.#batchBytes + this.#waitingBytes + message.length > this.#bufferBytesMax) {
      this.#droppedCount++
      return false
    }
    this.#waiting.push(message)
    this.#waitingBytes += message.length
    if (this.#socket !== null) this.#flush()
    else if (this.#timer === null) this.#connect()
    else this.#timer.ref() // what waits keeps the process alive
    return true
  }

  /** Connects anew, as after a change of the receiver's address. */
  reopen(): Promise<void> {
    const socket = this.#socket
    if (socket !== null) {
      socket.setTimeout(this.#connectTimeoutMs, () => socket.destroy())
      socket.end()
    }
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#isClosed = true
    if (this.#waitingBytes + this.#batchBytes === 0) this.#release()
    else if (!this.#isConnected && this.#timer !== null) {
      // One last try, now: an end must not wait for a receiver that has been gone for long.
      clearTimeout(this.#timer)
      this.#timer = null
      this.#connect()
    } else if (this.#isConnected) {
      // One that takes nothing for so long will not take the last lines either.
      const socket = this.#socket
      socket?.setTimeout(this.#connectTimeoutMs, () => socket.destroy())
    }
    return this.#closed.promise
  }

  destroy(): void {
    this.#isClosed = true
    this.#droppedCount += this.#waiting.length + this.#batchLines
    this.#waiting = []
    this.#waitingBytes = 0
    this.#batchBytes = 0
    this.#batchLines = 0
    this.#release()
    this.#socket?.destroy()
  }

  stats(): DestinationStats {
    return {
      writtenCount: this.#writtenCount,
      droppedCount: this.#droppedCount,
      waitingBytes: this.#batchBytes + this.#waitingBytes,
    }
  }

  #connect(): void {
    const { transport, host = '127.0.0.1', path, tls } = this.#options
    const port = this.#port
    let socket: Socket
    try {
      if (transport === 'unix') socket = connectTcp({ path: path as string })
      else if (transport === 'tls') socket = connectTls({ host, port, ...tls })
      else socket = connectTcp({ host, port })
    } catch {
      socket = new Socket().destroy() // an option of `tls` that Node.js refuses: as if nobody answered
    }
    this.#socket = socket
    socket.setTimeout(this.#connectTimeoutMs, () => socket.destroy())
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => this.#lost(socket))
    socket.on('data', () => undefined) // receivers have nothing to say; reading is how their end is seen
    socket.once(transport === 'tls' ? 'secureConnect' : 'connect', () => {
      if (!this.#isClosed) socket.setTimeout(0) // the end waits for one that takes something only
      socket.unref()
      this.#isConnected = true
      this.#delayMs = this.#reconnectDelayMs
      this.#flush()
    })
  }

  #flush(): void {
    const socket = this.#socket
    if (!this.#isConnected || this.#batchBytes > 0 || this.#waiting.length === 0 || socket === null) return
    if (!socket.writable) return
    const batch: Buffer[] = []
    for (const message of this.#waiting) batch.push(Buffer.from(`${message.length} `, 'latin1'), message)
    this.#batchBytes = this.#waitingBytes
    this.#batchLines = this.#waiting.length
    this.#waiting = []
    this.#waitingBytes = 0
    socket.ref() // until it is written: what waits keeps the process alive
    socket.write(Buffer.concat(batch), (error) => {
      if (socket !== this.#socket || error) return // `close` accounts for it
      this.#writtenCount += this.#batchLines
      this.#batchBytes = 0
      this.#batchLines = 0
      if (this.#waiting.length > 0) this.#flush()
      else if (this.#isClosed) this.#release()
      else socket.unref()
    })
  }

  #lost(socket: Socket): void {
    if (socket !== this.#socket) return
    this.#socket = null
    this.#isConnected = false
    // Nobody knows what of it has arrived; sending it again could double lines.
    this.#droppedCount += this.#batchLines
    this.#batchBytes = 0
    this.#batchLines = 0
    if (this.#isClosed) {
      this.#droppedCount += this.#waiting.length
      this.#waiting = []
      this.#waitingBytes = 0
      this.#closed.resolve()
      return
    }
    this.#timer = setTimeout(() => {
      this.#timer = null
      if (this.#waiting.length > 0 || this.#isClosed) this.#connect()
    }, this.#delayMs)
    // Nothing waits: then nothing needs the process to stay alive.
    if (this.#waiting.length === 0) this.#timer.unref()
    this.#delayMs = Math.min(this.#delayMs * 2, RECONNECT_DELAY_MAX_MS)
  }

  #release(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const socket = this.#socket
    if (socket === null) this.#closed.resolve()
    else {
      socket.setTimeout(this.#connectTimeoutMs, () => socket.destroy())
      socket.end()
    }
  }
}

/** RFC 5424 §6.2.4: `-` where there is none, or none that fits. */
function machineName(): string {
  const name = hostname()
  return /^[\x21-\x7e]{1,255}$/.test(name) ? name : '-'
}

function bufferBytesMax(options: SyslogDestinationOptions): number {
  return integer('bufferBytesMax', options.bufferBytesMax ?? 1_048_576, 1_024, 1_073_741_824)
}

function code<N extends string>(option: string, codes: Readonly<Record<N, number>>, name: N): number {
  if (Object.hasOwn(codes, name)) return codes[name]
  throw new TypeError(`Unknown ${option} "${String(name)}"${suggest(String(name), Object.keys(codes))}`)
}

/** RFC 5424 §6: printable ASCII without spaces. */
function header(option: string, value: string, charactersMax: number): string {
  if (typeof value === 'string' && value.length <= charactersMax && /^[\x21-\x7e]+$/.test(value)) return value
  throw new TypeError(
    `${option} must be up to ${charactersMax} printable ASCII characters, received "${String(value)}"`,
  )
}
