import type { Duplex } from 'node:stream'
import { HpackDecoder } from '@cirque/hpack'
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  NOTHING,
  PADDED,
  PING,
  PREFACE,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  splitFrames,
  uint32,
  WINDOW_UPDATE,
} from '../../../../../scripts/test-support/http2-frames.ts'

/** One stream as it was seen. */
export interface H2Stream {
  readonly id: number
  /** Each block of fields, in order. */
  readonly heads: (readonly string[])[]
  body: string
  ended: boolean
  /** The code of the reset that came, or -1. */
  reset: number
  /** We have ended or reset our side. */
  finished: boolean
}

export interface H2Events {
  onHead?(stream: H2Stream, fields: readonly string[]): void
  onEnd?(stream: H2Stream): void
  onReset?(stream: H2Stream): void
}

interface FieldBlock {
  readonly stream: number
  readonly flags: number
  readonly parts: Buffer[]
}

interface Queued {
  readonly stream: H2Stream
  bytes: Buffer
  readonly end: boolean
}

/**
 * One end of an HTTP/2 connection: sends the frames that it is told to, right or wrong, and reads what comes by the
 * letter of RFC 9113. Written apart from the engine under attack, but for HPACK.
 */
export class H2Peer {
  readonly socket: Duplex
  readonly streams: Map<number, H2Stream> = new Map()
  /** What the other side should never have sent. */
  readonly violations: string[] = []
  /** The code of GOAWAY, or -1. */
  goaway = -1
  closed = false
  /** Answers to {@link ping}. */
  pongs = 0
  readonly #events: H2Events
  readonly #decoder = new HpackDecoder({ listBytesMax: 1 << 20, fieldsMax: 2_000 })
  #rest: Buffer = NOTHING
  #preface: boolean
  #block: FieldBlock | null = null
  #window = 65_535
  #streamWindow = 65_535
  readonly #windows = new Map<number, number>()
  readonly #queue: Queued[] = []

  constructor(socket: Duplex, role: 'client' | 'server', events: H2Events = {}, given: Buffer = NOTHING) {
    this.socket = socket
    this.#events = events
    this.#preface = role === 'server'
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('close', () => {
      this.closed = true
    })
    if (role === 'client') this.send(PREFACE)
    this.send(frame(SETTINGS, 0, 0, given))
  }

  send(...frames: readonly Buffer[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(frames))
  }

  stream(id: number): H2Stream {
    let stream = this.streams.get(id)
    if (stream === undefined) {
      stream = { id, heads: [], body: '', ended: false, reset: -1, finished: false }
      this.streams.set(id, stream)
    }
    return stream
  }

  /** Fields in one HEADERS frame, or with a CONTINUATION behind each `cut` bytes. */
  headers(id: number, fields: readonly string[] | Buffer, end: boolean, cut = 16_384): void {
    const bytes = Buffer.isBuffer(fields) ? fields : block(fields)
    const stream = this.stream(id)
    stream.finished ||= end
    const frames: Buffer[] = []
    for (let at = 0; at < bytes.length || at === 0; at += cut) {
      const flags = at + cut >= bytes.length ? END_HEADERS : 0
      const part = bytes.subarray(at, at + cut)
      frames.push(
        at === 0
          ? frame(HEADERS, flags | (end ? END_STREAM : 0), id, part)
          : frame(CONTINUATION, flags, id, part),
      )
    }
    this.send(...frames)
  }

  /** Body bytes, as the other side's windows allow. */
  data(id: number, text: string, end: boolean): void {
    this.#queue.push({ stream: this.stream(id), bytes: Buffer.from(text, 'latin1'), end })
    this.#flush()
  }

  /** Nothing of the stream's body waits for a window. */
  sent(id: number): boolean {
    return !this.#queue.some(({ stream }) => stream.id === id && stream.reset < 0)
  }

  /** The answer says that all before it has been read. */
  ping(): void {
    this.send(frame(PING, 0, 0, Buffer.alloc(8)))
  }

  reset(id: number, code: number): void {
    this.stream(id).finished = true
    this.send(frame(RST_STREAM, 0, id, uint32(code)))
  }

  #flush(): void {
    for (let i = 0; i < this.#queue.length; ) {
      const { stream, bytes, end } = this.#queue[i] as Queued
      if (stream.reset >= 0 || this.closed) {
        this.#queue.splice(i, 1)
        continue
      }
      const window = this.#windows.get(stream.id) ?? this.#streamWindow
      const size = Math.min(bytes.length, 16_384, window, this.#window)
      const blocked = this.#queue.slice(0, i).some((other) => other.stream === stream)
      if (blocked || (size <= 0 && bytes.length > 0)) {
        i++
        continue
      }
      this.#window -= size
      this.#windows.set(stream.id, window - size)
      const last = size === bytes.length
      this.send(frame(DATA, last && end ? END_STREAM : 0, stream.id, bytes.subarray(0, size)))
      if (last) {
        stream.finished ||= end
        this.#queue.splice(i, 1)
      } else (this.#queue[i] as Queued).bytes = bytes.subarray(size)
    }
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (this.#preface) {
      if (bytes.length < PREFACE.length) {
        this.#rest = bytes
        return
      }
      if (!bytes.subarray(0, PREFACE.length).equals(PREFACE)) this.violations.push('no preface')
      bytes = bytes.subarray(PREFACE.length)
      this.#preface = false
    }
    const { frames, rest } = splitFrames(bytes)
    for (const { type, flags, stream, payload } of frames) this.#frame(type, flags, stream, payload)
    this.#rest = Buffer.from(rest)
  }

  #frame(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#block !== null && (type !== CONTINUATION || id !== this.#block.stream)) {
      this.violations.push(`frame ${type} within a block of fields`)
    }
    switch (type) {
      case DATA:
        this.#data(flags, id, payload)
        break
      case HEADERS: {
        if (id === 0) this.violations.push('HEADERS on stream 0')
        let part = payload
        if ((flags & PADDED) !== 0) part = part.subarray(1, part.length - (part[0] as number))
        if ((flags & 0x20) !== 0) part = part.subarray(5)
        this.#block = { stream: id, flags, parts: [part] }
        if ((flags & END_HEADERS) !== 0) this.#fields()
        break
      }
      case CONTINUATION:
        this.#block?.parts.push(payload)
        if ((flags & END_HEADERS) !== 0) this.#fields()
        break
      case RST_STREAM: {
        const stream = this.stream(id)
        stream.reset = payload.readUInt32BE(0)
        this.#events.onReset?.(stream)
        break
      }
      case SETTINGS:
        if ((flags & ACK) === 0) this.#settings(payload)
        break
      case PING:
        if ((flags & ACK) === 0) this.send(frame(PING, ACK, 0, payload))
        else this.pongs++
        break
      case GOAWAY:
        this.goaway = payload.readUInt32BE(4)
        break
      case WINDOW_UPDATE: {
        const by = payload.readUInt32BE(0)
        if (id === 0) this.#window += by
        else this.#windows.set(id, (this.#windows.get(id) ?? this.#streamWindow) + by)
        this.#flush()
        break
      }
      case PUSH_PROMISE:
        this.violations.push('PUSH_PROMISE')
        break
    }
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== 4) continue
      const window = payload.readUInt32BE(at + 2)
      for (const [id, left] of this.#windows) this.#windows.set(id, left + window - this.#streamWindow)
      this.#streamWindow = window
    }
    this.send(frame(SETTINGS, ACK, 0))
    this.#flush()
  }

  #data(flags: number, id: number, payload: Buffer): void {
    const stream = this.stream(id)
    if (stream.heads.length === 0) this.violations.push(`DATA before HEADERS on ${id}`)
    if (stream.ended) this.violations.push(`DATA after the end of ${id}`)
    const body =
      (flags & PADDED) !== 0 ? payload.subarray(1, payload.length - (payload[0] as number)) : payload
    stream.body += body.toString('latin1')
    if (payload.length > 0) {
      this.send(frame(WINDOW_UPDATE, 0, 0, uint32(payload.length)))
      if ((flags & END_STREAM) === 0) this.send(frame(WINDOW_UPDATE, 0, id, uint32(payload.length)))
    }
    if ((flags & END_STREAM) !== 0) this.#end(stream)
  }

  #fields(): void {
    const { stream: id, flags, parts } = this.#block as FieldBlock
    this.#block = null
    const bytes = Buffer.concat(parts)
    const fields = this.#decoder.decode(bytes, 0, bytes.length)
    if (fields === null) {
      this.violations.push(`undecodable fields: ${this.#decoder.failure}`)
      return
    }
    const stream = this.stream(id)
    if (stream.ended) this.violations.push(`HEADERS after the end of ${id}`)
    stream.heads.push(fields)
    this.#events.onHead?.(stream, fields)
    if ((flags & END_STREAM) !== 0) this.#end(stream)
  }

  #end(stream: H2Stream): void {
    stream.ended = true
    this.#events.onEnd?.(stream)
  }
}

/** The values of a field in a list of names and values. */
export function valuesOf(fields: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) values.push(fields[i + 1] as string)
  return values
}
