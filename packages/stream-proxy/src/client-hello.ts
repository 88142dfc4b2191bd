/** What of a TLS ClientHello decides where a connection goes. */
export interface ClientHello {
  /** The name the client asks for, lower-cased; undefined without SNI. With ECH it is the public, outer one. */
  readonly serverName: string | undefined
  /** The application protocols it offers, most wanted first; empty without ALPN. */
  readonly alpnProtocols: readonly string[]
}

/**
 * What the first bytes of a connection are:
 * - `hello`: a whole ClientHello.
 * - `partial`: the beginning of one, or nothing yet; not worth another look with less than `bytesMin` bytes.
 * - `absent`: not TLS.
 * - `malformed`: TLS that breaks its rules, or a ClientHello longer than allowed.
 */
export type ClientHelloResult =
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'partial'; readonly bytesMin: number }
  | { readonly kind: 'absent' }
  | { readonly kind: 'malformed'; readonly reason: string }

/** Longest ClientHello that is taken by default, record headers included. Those of browsers have about 2,000 bytes. */
export const CLIENT_HELLO_BYTES_MAX_DEFAULT: number = 16_384

const ABSENT: ClientHelloResult = { kind: 'absent' }

const HANDSHAKE = 22
const CLIENT_HELLO = 1
const RECORD_HEAD_BYTES = 5
const RECORD_BYTES_MAX = 16_384 // RFC 8446 §5.1
const SERVER_NAME = 0
const ALPN = 16
const NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/

/**
 * Reads the ClientHello at the start of `bytes`, all bytes of the connection so far, without answering it. It may be
 * spread over any number of records. Call again with more when it is `partial`: each call begins anew.
 *
 * @param bytesMax - Longest ClientHello, record headers included.
 */
export function readClientHello(
  bytes: Buffer,
  bytesMax: number = CLIENT_HELLO_BYTES_MAX_DEFAULT,
): ClientHelloResult {
  const message = handshakeMessage(bytes, bytesMax)
  if (!Buffer.isBuffer(message)) return message
  try {
    return { kind: 'hello', hello: parse(new Reader(message)) }
  } catch (error) {
    if (error instanceof Malformed) return malformed(error.message)
    throw error
  }
}

/** The body of the first handshake message, out of its records. */
function handshakeMessage(bytes: Buffer, bytesMax: number): Buffer | ClientHelloResult {
  if (bytes.length === 0) return { kind: 'partial', bytesMin: 1 }
  if (bytes[0] !== HANDSHAKE || (bytes.length > 1 && bytes[1] !== 3)) return ABSENT
  if (bytes.length === 1) return { kind: 'partial', bytesMin: 2 }
  const parts: Buffer[] = []
  let length = 0
  let wanted = 4
  for (let at = 0; ; ) {
    if (at + RECORD_HEAD_BYTES > bytes.length) return partial(bytes.length, bytesMax, wanted - length)
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3)
      return malformed('another record within the ClientHello')
    const size = bytes.readUInt16BE(at + 3)
    if (size === 0 || size > RECORD_BYTES_MAX) return malformed(`a record of ${size} bytes`)
    const from = at + RECORD_HEAD_BYTES
    const part = bytes.subarray(from, Math.min(from + size, bytes.length))
    parts.push(part)
    length += part.length
    if (wanted === 4 && length >= 4) {
      const head = Buffer.concat(parts)
      if (head[0] !== CLIENT_HELLO) return malformed('the handshake does not begin with a ClientHello')
      wanted = 4 + head.readUIntBE(1, 3)
      if (wanted > bytesMax) return tooLong(bytesMax)
    }
    if (length >= wanted && wanted > 4) {
      const taken = from + part.length - (length - wanted)
      return taken > bytesMax ? tooLong(bytesMax) : Buffer.concat(parts).subarray(4, wanted)
    }
    if (wanted === 4 && length >= 4) return malformed('an empty ClientHello')
    at = from + size
    if (at > bytes.length) return partial(bytes.length, bytesMax, wanted - length)
  }
}

/** `missing` bytes of the message are still to come, and perhaps records around them. */
function partial(received: number, bytesMax: number, missing: number): ClientHelloResult {
  if (received >= bytesMax) return tooLong(bytesMax)
  return { kind: 'partial', bytesMin: Math.min(received + Math.max(1, missing), bytesMax) }
}

function tooLong(bytesMax: number): ClientHelloResult {
  return malformed(`the ClientHello is longer than ${bytesMax} bytes`)
}

function malformed(reason: string): ClientHelloResult {
  return { kind: 'malformed', reason }
}

/** RFC 8446 §4.1.2, the same since TLS 1.0. */
function parse(reader: Reader): ClientHello {
  reader.skip(2 + 32) // legacy_version, random
  if (reader.vector(1).left > 32) throw new Malformed('a session id longer than 32 bytes')
  const suites = reader.vector(2).left
  if (suites < 2 || suites % 2 === 1) throw new Malformed('a list of cipher suites that cannot be')
  if (reader.vector(1).left === 0) throw new Malformed('no compression method')
  const hello: { serverName: string | undefined; alpnProtocols: string[] } = {
    serverName: undefined,
    alpnProtocols: [],
  }
  if (reader.left === 0) return hello // before TLS 1.3 extensions could be left out
  const extensions = reader.vector(2)
  if (reader.left > 0) throw new Malformed('bytes behind the extensions')
  const seen = new Set<number>()
  while (extensions.left > 0) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (seen.has(type)) throw new Malformed(`extension ${type} twice`) // RFC 8446 §4.2
    seen.add(type)
    if (type === SERVER_NAME) hello.serverName = readServerName(content)
    else if (type === ALPN) hello.alpnProtocols = readProtocols(content)
  }
  return hello
}

/** RFC 6066 §3: a list with at most one name of each type; there is one type. */
function readServerName(content: Reader): string {
  const list = content.vector(2)
  if (content.left > 0 || list.number(1) !== 0) throw new Malformed('a server name of another type')
  const name = list.vector(2).rest().toString('latin1').toLowerCase()
  if (list.left > 0) throw new Malformed('more than one server name')
  if (!NAME.test(name)) throw new Malformed('a server name that is no host name')
  return name
}

/** RFC 7301 §3.1. */
function readProtocols(content: Reader): string[] {
  const list = content.vector(2)
  if (content.left > 0 || list.left === 0) throw new Malformed('a list of protocols that cannot be')
  const protocols: string[] = []
  while (list.left > 0) {
    const name = list.vector(1).rest()
    if (name.length === 0) throw new Malformed('a protocol without a name')
    protocols.push(name.toString('latin1'))
  }
  return protocols
}

class Malformed extends Error {}

/** Reads numbers and vectors, and never past the end. */
class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  skip(count: number): void {
    if (this.left < count) throw new Malformed('it is cut off')
    this.#at += count
  }

  number(size: 1 | 2): number {
    this.skip(size)
    return this.#bytes.readUIntBE(this.#at - size, size)
  }

  /** What follows a length of 1 or 2 bytes. */
  vector(size: 1 | 2): Reader {
    const count = this.number(size)
    this.skip(count)
    return new Reader(this.#bytes.subarray(this.#at - count, this.#at))
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at)
  }
}
