import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GrpcTextEncoder, PiecewiseBase64Decoder } from '../src/modules/grpc-web-text.ts'

/** Bytes in pieces. */
const pieces = fc.array(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  { maxLength: 8 },
)
const cuts = fc.array(fc.nat(), { maxLength: 8 })

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...sorted, bytes.length].map((end, i) => bytes.subarray(i === 0 ? 0 : sorted[i - 1], end))
}

function decode(parts: readonly Buffer[]): Buffer | null {
  const decoder = new PiecewiseBase64Decoder()
  const decoded: Buffer[] = []
  for (const part of parts) {
    const bytes = decoder.decode(part)
    if (bytes === null) return null
    decoded.push(bytes)
  }
  return decoder.complete ? Buffer.concat(decoded) : null
}

function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

describe('the decoder', () => {
  test('reads what was encoded piece by piece, however it is split', () => {
    fc.assert(
      fc.property(pieces, cuts, (encoded, places) => {
        const text = Buffer.from(encoded.map((piece) => piece.toString('base64')).join(''))
        expect(decode(cutAt(text, places))).toEqual(Buffer.concat(encoded))
      }),
    )
  })

  test('takes nothing but base64, of which it knows one spelling', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii', maxLength: 12 }), (text) => {
        const decoded = decode([Buffer.from(text, 'latin1')])
        if (decoded === null) return
        // Whatever is taken is what encoding its runs gives.
        const runs = text.match(/[^=]+={0,2}/g) ?? []
        expect(runs.map((run) => Buffer.from(run, 'base64').toString('base64')).join('')).toBe(text)
      }),
    )
    const refused = [
      'A',
      'AA',
      'AAA',
      'A===',
      '=AAA',
      'AA=',
      'AA=A',
      'AAA==',
      'AB==',
      'AAB=',
      'AA\r\nAA',
      'AA-_',
    ]
    refused.push('====', 'QQ== ', 'Qé==', 'QQ==\0')
    for (const text of refused) {
      const bytes = Buffer.from(text, 'latin1')
      for (let at = 0; at <= bytes.length; at++) {
        expect(decode([bytes.subarray(0, at), bytes.subarray(at)]), JSON.stringify(text)).toBeNull()
      }
    }
  })
})

describe('the encoder', () => {
  test('ends each frame with its padding, and each but there in whole quanta', () => {
    fc.assert(
      fc.property(pieces, cuts, (messages, places) => {
        const frames = messages.map(frame)
        const bytes = Buffer.concat(frames)
        const ends = new Set<number>([0])
        for (const each of frames) ends.add(Math.max(...ends) + each.length)
        const encoder = new GrpcTextEncoder()
        let text = ''
        let sent = 0
        for (const piece of cutAt(bytes, places)) {
          text += encoder.encode(piece).toString('latin1')
          sent += piece.length
          const decoded = decode([Buffer.from(text)])
          // All of a frame is there once its last byte came; else at most two bytes wait.
          if (ends.has(sent)) expect(decoded).toEqual(bytes.subarray(0, sent))
          else expect(sent - (decoded?.length ?? 0)).toBeLessThan(3)
        }
        expect(encoder.flush().length).toBe(0)
      }),
    )
  })

  test('a body that ends within a frame is sent whole', () => {
    const cut = frame(Buffer.alloc(10)).subarray(0, 7)
    const encoder = new GrpcTextEncoder()
    const text = encoder.encode(cut).toString() + encoder.flush().toString()
    expect(Buffer.from(text, 'base64')).toEqual(cut)
  })
})
