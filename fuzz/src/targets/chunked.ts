import { ChunkedDecoder, encodeChunkHead, HEAD_FAILED, latin1, NEED_MORE } from '@cirque/http'
import { cutsOf, holds, same } from '../check.ts'
import { bytesOf, chunkedBody } from '../http-grammar.ts'
import { readRequests } from '../llhttp.ts'
import type { Target } from '../target.ts'

const HEAD = Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
const strict = new ChunkedDecoder()
const lenient = new ChunkedDecoder({ profile: 'lenient' })

interface Outcome {
  readonly after: number
  readonly code: string | undefined
  readonly body: string
  readonly trailers: readonly string[]
}

function decode(decoder: ChunkedDecoder, input: Buffer, cuts: readonly number[]): Outcome {
  decoder.reset()
  let body = ''
  let after = NEED_MORE
  let start = 0
  const sink = {
    onChunkData: (chunk: Buffer, from: number, to: number) => {
      body += latin1(chunk, from, to)
    },
  }
  for (const cut of [...cuts, input.length]) {
    after = decoder.execute(input, start, cut, sink)
    start = cut
    if (after !== NEED_MORE) break
  }
  holds('the count of bytes is that of the body', decoder.bytesDecoded === body.length)
  holds('done says that the body has ended', decoder.done === after >= 0)
  return { after, code: decoder.failure?.code, body, trailers: decoder.trailers ?? [] }
}

/** A chunked body: splits, both profiles, and what llhttp decodes. */
export const target: Target = {
  name: 'chunked',
  seeds: ['3\r\nabc\r\n0\r\n\r\n', 'a;b=c\r\n0123456789\r\n0\r\nX: y\r\n\r\nrest', '0;x="y"\r\n\r\n'],
  inputs: bytesOf(chunkedBody),
  run(input) {
    const whole = decode(strict, input, [])
    same('the same in pieces', decode(strict, input, cutsOf(input)), whole)
    if (input.length <= 512)
      same('the same byte by byte', decode(strict, input, [...input.keys()].slice(1)), whole)
    const loose = decode(lenient, input, [])
    same('lenient: the same in pieces', decode(lenient, input, cutsOf(input)), loose)
    if (whole.after === HEAD_FAILED || whole.after === NEED_MORE) return
    same('lenient decodes the same', loose, whole)
    const wire = Buffer.concat([HEAD, input.subarray(0, whole.after)])
    const { messages, refusal } = readRequests(wire)
    const [seen] = messages
    const { body, trailers } = whole
    same(
      'llhttp decodes the same',
      { body: seen?.body, trailers: seen?.trailers, complete: seen?.complete, refusal },
      {
        body,
        trailers,
        complete: true,
        refusal: undefined,
      },
    )
    const written = `${body === '' ? '' : `${encodeChunkHead(body.length)}${body}\r\n`}${encodeChunkHead(0)}\r\n`
    same('what is encoded decodes to the same', decode(strict, Buffer.from(written, 'latin1'), []).body, body)
  },
}
