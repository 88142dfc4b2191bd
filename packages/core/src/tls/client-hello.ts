/** What a connection's first bytes say about the server name that the client asks for. */
export type ServerNameResult =
  | { readonly kind: 'name'; readonly serverName: string }
  /** A whole ClientHello without a name, or bytes that are none: the TLS library will judge them. */
  | { readonly kind: 'none' }
  /** Not with less than so many bytes of the connection: each look begins anew, and packets may bring one byte. */
  | { readonly kind: 'more'; readonly bytesMin: number }

const NONE: ServerNameResult = Object.freeze({ kind: 'none' })

/**
 * Longest ClientHello that is looked into, in bytes. Post-quantum key shares make one of 1.6 KB usual; a resumed
 * session with a client certificate in its ticket can reach several KB.
 */
export const CLIENT_HELLO_BYTES_MAX: number = 16_384

const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
const SERVER_NAME_EXTENSION = 0
const HOST_NAME = 0

/**
 * Reads the server name (RFC 6066 §3) off the first bytes of a TLS connection, without judging the rest.
 * The message may be cut into any records and packets (RFC 8446 §5.1).
 */
export function readServerName(bytes: Buffer): ServerNameResult {
  const fragments: Buffer[] = []
  let received = 0
  /** Of the message, once its head is there. */
  let size = 0
  for (let at = 0; ; ) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE_RECORD) return NONE
    if (bytes.length < at + 5) return more(bytes.length, Math.max(1, size - received))
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0) return NONE // RFC 8446 §5.1: no empty handshake records
    const fragment = bytes.subarray(at + 5, at + 5 + length)
    fragments.push(fragment)
    received += fragment.length
    at += 5 + length
    if (received < 4) continue
    if (size === 0) {
      const head = fragments.length === 1 ? fragment : Buffer.concat(fragments, 4)
      if (head[0] !== CLIENT_HELLO) return NONE
      size = 4 + head.readUIntBE(1, 3)
      if (size > CLIENT_HELLO_BYTES_MAX) return NONE
    }
    if (received >= size) return findServerName(Buffer.concat(fragments, size))
  }
}

function more(received: number, missing: number): ServerNameResult {
  if (received > CLIENT_HELLO_BYTES_MAX) return NONE
  return { kind: 'more', bytesMin: Math.min(received + missing, CLIENT_HELLO_BYTES_MAX + 1) }
}

function findServerName(message: Buffer): ServerNameResult {
  const reader = new Reader(message, 4 + 2 + 32) // header, version, random
  reader.skipVector(1) // session id
  reader.skipVector(2) // cipher suites
  reader.skipVector(1) // compression methods
  if (!reader.has(2)) return NONE
  reader.at += 2
  while (reader.has(4)) {
    const type = message.readUInt16BE(reader.at)
    const length = message.readUInt16BE(reader.at + 2)
    reader.at += 4
    if (!reader.has(length)) return NONE
    if (type === SERVER_NAME_EXTENSION) return hostName(message.subarray(reader.at, reader.at + length))
    reader.at += length
  }
  return NONE
}

function hostName(list: Buffer): ServerNameResult {
  if (list.length < 5 || list[2] !== HOST_NAME) return NONE
  const length = list.readUInt16BE(3)
  if (length === 0 || 5 + length > list.length) return NONE
  return { kind: 'name', serverName: list.toString('latin1', 5, 5 + length) }
}

class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  has(count: number): boolean {
    return this.at + count <= this.#bytes.length
  }

  /** Past the end, nothing that follows is there either. */
  skipVector(lengthBytes: 1 | 2): void {
    if (this.has(lengthBytes)) this.at += this.#bytes.readUIntBE(this.at, lengthBytes) + lengthBytes
    else this.at = this.#bytes.length
  }
}
