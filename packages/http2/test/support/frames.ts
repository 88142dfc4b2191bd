import { HpackDecoder } from '@cirque/hpack'
import {
  block,
  END_HEADERS,
  END_STREAM,
  type Frame,
  frame,
  HEADERS,
  splitFrames,
} from '../../../../scripts/test-support/http2-frames.ts'

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
  const { frames, rest } = splitFrames(bytes)
  if (rest.length > 0) throw new Error('A frame is cut')
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
