import { constants } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { type Attack, KIB, speak, type Talk } from './attack.ts'

/** The first bytes of a hello that announces 500 and never gets there. */
const HALF_A_HELLO = Buffer.from('16030101f4010001f00303', 'hex')

/** The beginning of one of 16 KiB. */
const LONG_HELLO = Buffer.from('01003ff0', 'hex')

interface TlsAttack extends Pick<Attack, 'clients' | 'bytesMax' | 'backMs'> {
  readonly options?: ConnectionOptions
  readonly onSecure: (socket: TLSSocket, index: number) => void
}

function overTls({ options = {}, onSecure, ...rest }: TlsAttack): Attack {
  const open = ({ tlsPort }: { tlsPort: number }, index: number) => {
    const socket = connect({ port: tlsPort, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    socket.on('secureConnect', () => onSecure(socket, index))
    return socket
  }
  return { endless: false, ...rest, open }
}

/** Bytes to the port of TLS that are no TLS of a well-behaved client. */
function raw(given: Talk & Pick<Attack, 'clients'>): Attack {
  const { clients, bytesMax, backMs = 200 } = given
  const open = ({ tlsPort }: { tlsPort: number }, index: number): Socket => {
    const socket = createConnection({ port: tlsPort, host: '127.0.0.1', noDelay: true })
    speak(socket, given, index)
    return socket
  }
  return { clients, bytesMax, backMs, endless: false, open }
}

/** What clients of TLS may do. */
export const TLS_ATTACKS: Readonly<Record<string, Attack>> = {
  'handshakes that never begin': raw({ clients: 300, bytesMax: 80 * KIB }),
  'handshakes that stay half open': raw({ clients: 300, opening: HALF_A_HELLO, bytesMax: 80 * KIB }),
  'hellos in records of one byte': raw({
    clients: 100,
    bytesMax: 80 * KIB,
    next: (round) => Buffer.from([0x16, 3, 1, 0, 1, LONG_HELLO[round] ?? 0]),
  }),
  'bytes that are no handshake': raw({
    clients: 50,
    backMs: 1,
    opening: 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    bytesMax: 80 * KIB,
  }),
  'whole handshakes, one after another': overTls({
    clients: 10,
    backMs: 1,
    onSecure: (socket) => socket.destroy(),
    bytesMax: 200 * KIB,
  }),
  'whole handshakes of TLS 1.2': overTls({
    clients: 10,
    backMs: 1,
    options: { maxVersion: 'TLSv1.2' },
    onSecure: (socket) => socket.destroy(),
    bytesMax: 200 * KIB,
  }),
  'connections that are secure, and idle': overTls({
    clients: 100,
    backMs: 200,
    onSecure: (socket) => socket.resume(),
    bytesMax: 120 * KIB,
  }),
  'renegotiation, again and again': overTls({
    clients: 20,
    backMs: 50,
    options: { maxVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_ALL },
    onSecure: renegotiate,
    bytesMax: 200 * KIB,
  }),
}

/** Asks for another handshake within the connection; when it is refused, leaves. */
function renegotiate(socket: TLSSocket): void {
  const again = () => {
    const begun = socket.renegotiate({ rejectUnauthorized: false }, (error) => {
      if (error === null && !socket.destroyed) again()
      else socket.destroy()
    })
    if (begun === false) socket.destroy()
  }
  again()
}
