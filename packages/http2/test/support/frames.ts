import { HpackDecoder } from '@cirque/hpack'

export const DATA = 0x0
export const HEADERS = 0x1
export const PRIORITY = 0x2
export const RST_STREAM = 0x3
export const SETTINGS = 0x4
export const PUSH_PROMISE = 0x5
export const PING = 0x6
export const GOAWAY = 0x7
export const WINDOW_UPDATE = 0x8
export const CONTINUATION = 0x9
export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4
export const PADDED = 0x8
export const PRIORITIZED = 0x20

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
export const NOTHING: Buffer = Buffer.alloc(0)

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

/** One frame, whatever it says. */
export function frame(type: number, flags: number, id: number, payload: Buffer = NOTHING): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, payload])
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value >>> 0, index * 4)
  })
  return bytes
}

export function settings(...pairs: (readonly [number, number])[]): Buffer {
  return Buffer.concat(
    pairs.map(([name, value]) => {
      const bytes = Buffer.alloc(6)
      bytes.writeUInt16BE(name)
      bytes.writeUInt32BE(value, 2)
      return bytes
    }),
  )
}

/** A field block of literals without indexing and without Huffman coding (RFC 7541 §6.2.2). */
export function block(fields: readonly string[]): Buffer {
  const parts: Buffer[] = []
  for (let i = 0; i < fields.length; i += 2) {
    parts.push(Buffer.from([0]), literal(fields[i] as string), literal(fields[i + 1] as string))
  }
  return Buffer.concat(parts)
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const length: number[] = []
  if (bytes.length < 127) length.push(bytes.length)
  else {
    length.push(127)
    let rest = bytes.length - 127
    for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128)
    length.push(rest)
  }
  return Buffer.concat([Buffer.from(length), bytes])
}

export const REQUEST: readonly string[] = [
  ':method',
  'GET',
  ':scheme',
  'http',
  ':path',
  '/',
  ':authority',
  'a',
]
export const POST: readonly string[] = [':method', 'POST', ...REQUEST.slice(2)]

/** A request's HEADERS. */
export function request(id: number, flags: number = END_STREAM, fields: readonly string[] = REQUEST): Buffer {
  return frame(HEADERS, flags | END_HEADERS, id, block(fields))
}

/** The frames in `bytes`, which must be whole. */
export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  let at = 0
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3)
    const payload = bytes.subarray(at + 9, at + 9 + length)
    if (payload.length !== length) throw new Error('A frame is cut')
    frames.push({
      type: bytes[at + 3] ?? 0,
      flags: bytes[at + 4] ?? 0,
      id: bytes.readUInt32BE(at + 5),
      payload,
    })
    at += 9 + length
  }
  return frames
}

/** Field blocks of one connection, in the order they were sent. */
export class Blocks {
  readonly #decoder = new HpackDecoder()
  read(payload: Buffer): string[] {
    const fields = this.#decoder.decode(payload, 0, payload.length)
    if (fields === null) throw new Error('Not a field block')
    return fields
  }
}
