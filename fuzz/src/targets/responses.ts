import {
  bodylessStatus,
  ChunkedDecoder,
  HEAD_FAILED,
  latin1,
  NEED_MORE,
  ResponseHeadParser,
} from '@cirque/http'
import fc from 'fast-check'
import { cutsOf, same } from '../check.ts'
import { bytesOf, chunkedBody, responseHead } from '../http-grammar.ts'
import { hasProxyConnection, type Message, readResponse } from '../llhttp.ts'
import type { Target } from '../target.ts'

const parser = new ResponseHeadParser()
const lenient = new ResponseHeadParser({ profile: 'lenient' })
const decoder = new ChunkedDecoder()

interface Ours {
  readonly message: Message
  readonly end: number
  /** The body lasts until the connection ends. */
  readonly untilEnd: boolean
}

function factsOf(from: ResponseHeadParser, input: Buffer, cuts: readonly number[]): unknown {
  from.reset()
  let start = 0
  for (const cut of [...cuts, input.length]) {
    const after = from.execute(input, start, cut)
    start = cut
    if (after === NEED_MORE) continue
    if (after === HEAD_FAILED) return from.failure?.code
    const { contentLength, chunked, keepAlive, upgrade, hopByHop, keepAliveTimeoutMs, keepAliveUses } = from
    const { status, reason, version, fields } = from.takeHeader()
    const facts = { contentLength, chunked, keepAlive, upgrade, hopByHop, keepAliveTimeoutMs, keepAliveUses }
    return { after, status, reason, version, fields, ...facts }
  }
  return NEED_MORE
}

/** The first final response, after any number of interim ones. */
function readOurs(bytes: Buffer): Ours | undefined {
  let at = 0
  for (let heads = 0; heads < 8; heads += 1) {
    parser.reset()
    const bodyStart = parser.execute(bytes, at, bytes.length)
    if (bodyStart < 0) return undefined
    const { status, version, fields } = parser.takeHeader()
    at = bodyStart
    if (hasProxyConnection(fields)) return undefined
    if (status < 200) {
      // llhttp takes `close` of an interim response for the end of the connection; the final one decides.
      if (status === 101 || !parser.keepAlive) return undefined
      continue
    }
    const base = { start: String(status), version, fields, trailers: [], complete: true }
    if (bodylessStatus(status)) return { message: { ...base, body: '' }, end: at, untilEnd: false }
    if (parser.chunked) return readChunked(bytes, at, base)
    if (parser.contentLength < 0) {
      return {
        message: { ...base, body: latin1(bytes, at, bytes.length) },
        end: bytes.length,
        untilEnd: true,
      }
    }
    const end = at + parser.contentLength
    if (end > bytes.length) return undefined
    return { message: { ...base, body: latin1(bytes, at, end) }, end, untilEnd: false }
  }
  return undefined
}

function readChunked(bytes: Buffer, start: number, base: Omit<Message, 'body'>): Ours | undefined {
  let body = ''
  decoder.reset()
  const end = decoder.execute(bytes, start, bytes.length, {
    onChunkData: (chunk, from, to) => {
      body += latin1(chunk, from, to)
    },
  })
  if (end < 0) return undefined
  return { message: { ...base, body, trailers: decoder.trailers ?? [] }, end, untilEnd: false }
}

/** Responses: splits, and head, body and end as llhttp reads them. */
export const target: Target = {
  name: 'responses',
  seeds: [
    'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n',
    'HTTP/1.0 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nConnection: keep-alive\r\n\r\nabc',
    'HTTP/1.1 304\r\nContent-Length: 3\r\n\r\n',
  ],
  inputs: bytesOf(
    fc
      .tuple(
        fc.array(responseHead, { minLength: 1, maxLength: 2 }),
        fc.oneof(chunkedBody, fc.constantFrom('', 'abcde')),
      )
      .map(([heads, body]) => heads.join('') + body),
  ),
  async run(input) {
    parser.memo = null
    const whole = factsOf(parser, input, [])
    same('the same from the memo of the same lines', factsOf(parser, input, []), whole)
    parser.memo = null
    same('the same in pieces', factsOf(parser, input, cutsOf(input)), whole)
    if (typeof whole === 'object') same('lenient reads the same', factsOf(lenient, input, []), whole)
    const loose = factsOf(lenient, input, [])
    same('lenient: the same in pieces', factsOf(lenient, input, cutsOf(input)), loose)
    const ours = readOurs(input)
    if (ours === undefined) return
    const theirs = await readResponse(input.subarray(0, ours.end), 'GET', ours.untilEnd)
    same('llhttp reads the same response', theirs, { messages: [ours.message], refusal: undefined })
  },
}
