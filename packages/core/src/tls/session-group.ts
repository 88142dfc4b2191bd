import type { TLSSocket } from 'node:tls'

/** As `getEphemeralKeyInfo` names them; the numbers are those of TLS (IANA, "TLS Supported Groups"). */
const NAMES: ReadonlyMap<number, string> = new Map([
  [23, 'prime256v1'],
  [24, 'secp384r1'],
  [25, 'secp521r1'],
  [26, 'brainpoolP256r1'],
  [27, 'brainpoolP384r1'],
  [28, 'brainpoolP512r1'],
  [29, 'X25519'],
  [30, 'X448'],
  [31, 'brainpoolP256r1tls13'],
  [32, 'brainpoolP384r1tls13'],
  [33, 'brainpoolP512r1tls13'],
  [256, 'ffdhe2048'],
  [257, 'ffdhe3072'],
  [258, 'ffdhe4096'],
  [259, 'ffdhe6144'],
  [260, 'ffdhe8192'],
  [512, 'MLKEM512'],
  [513, 'MLKEM768'],
  [514, 'MLKEM1024'],
  [4_587, 'SecP256r1MLKEM768'],
  [4_588, 'X25519MLKEM768'],
  [4_589, 'SecP384r1MLKEM1024'],
])

const SEQUENCE = 0x30
const INTEGER = 0x02
/** `kex_group [19] INTEGER` of OpenSSL's `SSL_SESSION_ASN1`. */
const KEX_GROUP = 0xb3

/**
 * The group of the key exchange on a server's side, which Node.js tells to clients only: OpenSSL notes it in the
 * session. Undefined where there was no key exchange, or the session says nothing of one.
 */
export function groupOfSession(socket: TLSSocket): string | undefined {
  // What was exchanged when a session of TLS 1.2 was made says nothing about a connection that resumes it.
  if (socket.isSessionReused() && socket.getProtocol() !== 'TLSv1.3') return undefined
  const session = socket.getSession()
  if (session === undefined || session === null) return undefined
  const group = readKexGroup(session)
  session.fill(0) // it holds the master secret
  return group === undefined ? undefined : (NAMES.get(group) ?? `0x${group.toString(16).padStart(4, '0')}`)
}

/** The group in a session as OpenSSL serializes it (DER); undefined if there is none, or it is no such thing. */
export function readKexGroup(session: Buffer): number | undefined {
  const whole = readElement(session, 0)
  if (whole?.tag !== SEQUENCE || whole.end !== session.length) return undefined
  for (let at = whole.start; at < whole.end; ) {
    const field = readElement(session, at)
    if (field === undefined) return undefined
    if (field.tag === KEX_GROUP) return readInteger(session, field.start)
    at = field.end
  }
  return undefined
}

function readInteger(bytes: Buffer, at: number): number | undefined {
  const element = readElement(bytes, at)
  if (element?.tag !== INTEGER) return undefined
  const size = element.end - element.start
  return size >= 1 && size <= 3 ? bytes.readUIntBE(element.start, size) : undefined
}

/** Where the content of the element at `at` is; undefined if it is cut off. */
function readElement(bytes: Buffer, at: number): { tag: number; start: number; end: number } | undefined {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) return undefined
  const size = first < 0x80 ? 0 : first & 0x7f // of the length, where it takes more than one byte
  const start = at + 2 + size
  if (size > 3 || first === 0x80 || start > bytes.length) return undefined
  const end = start + (size === 0 ? first : bytes.readUIntBE(at + 2, size))
  return end > bytes.length ? undefined : { tag, start, end }
}
