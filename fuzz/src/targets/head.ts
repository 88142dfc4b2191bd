import { HEAD_FAILED, HEAD_FAILURE_CODES, type HttpProfile, NEED_MORE, RequestHeadParser } from '@cirque/http'
import fc from 'fast-check'
import { cutsOf, holds, same } from '../check.ts'
import { anyText, bytesOf, requestHead } from '../http-grammar.ts'
import { KNOWN_METHODS, readRequests } from '../llhttp.ts'
import type { Target } from '../target.ts'

interface Outcome {
  readonly after: number
  readonly code: string | null
  readonly head: Readonly<Record<string, unknown>> | null
}

const strict = new RequestHeadParser()
const lenient = new RequestHeadParser({ profile: 'lenient' })

function read(parser: RequestHeadParser, input: Buffer, cuts: readonly number[]): Outcome {
  parser.reset()
  let start = 0
  for (const cut of [...cuts, input.length]) {
    const after = parser.execute(input, start, cut)
    start = cut
    if (after === NEED_MORE) continue
    if (after === HEAD_FAILED) return { after, code: parser.failure?.code ?? '', head: null }
    const { contentLength, chunked, keepAlive, upgrade, hopByHop, expectContinue } = parser
    const { method, target, version, fields } = parser.takeHeader()
    const facts = { contentLength, chunked, keepAlive, upgrade, hopByHop, expectContinue }
    return { after, code: null, head: { method, target, version, fields, ...facts } }
  }
  return { after: NEED_MORE, code: null, head: null }
}

/** The same bytes give the same, however they are split, and whatever the connection has seen before. */
function checkSplits(parser: RequestHeadParser, input: Buffer, profile: HttpProfile): Outcome {
  parser.memo = null
  const whole = read(parser, input, [])
  same(`${profile}: the same from the memo of the same lines`, read(parser, input, []), whole)
  parser.memo = null
  same(`${profile}: the same in pieces`, read(parser, input, cutsOf(input)), whole)
  if (input.length <= 512) {
    same(`${profile}: the same byte by byte`, read(parser, input, [...input.keys()].slice(1)), whole)
  }
  if (whole.after === HEAD_FAILED) {
    holds(
      `${profile}: a refusal stays`,
      parser.execute(Buffer.from('GET / HTTP/1.1\r\n'), 0, 16) === HEAD_FAILED,
    )
    holds(`${profile}: a refusal has a known code`, HEAD_FAILURE_CODES.includes(whole.code as never))
  }
  return whole
}

/** One request head: splits, memo, both profiles, what is written again, and what llhttp reads. */
export const target: Target = {
  name: 'head',
  seeds: [
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'POST http://a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n',
  ],
  inputs: bytesOf(fc.oneof({ arbitrary: requestHead, weight: 9 }, { arbitrary: anyText, weight: 1 })),
  run(input) {
    const outcome = checkSplits(strict, input, 'strict')
    const loose = checkSplits(lenient, input, 'lenient')
    if (outcome.head === null) return
    same('lenient reads what strict accepts in the same way', loose, outcome)
    const wire = rewritten(input)
    const again = read(strict, Buffer.from(wire, 'latin1'), [])
    same('what is written again reads the same', again, { ...outcome, after: wire.length })
    if (!KNOWN_METHODS.has(outcome.head['method'] as string)) return
    const { messages } = readRequests(input.subarray(0, outcome.after))
    const { method, target: uri, version, fields } = outcome.head
    const [seen] = messages
    same(
      'llhttp reads the same head',
      seen && { start: seen.start, version: seen.version, fields: seen.fields },
      {
        start: `${method} ${uri}`,
        version,
        fields,
      },
    )
  },
}

/** The head through a header that has been edited: its fields are written one by one. */
function rewritten(input: Buffer): string {
  strict.reset()
  strict.execute(input, 0, input.length)
  const header = strict.takeHeader()
  const asReceived = header.toWire()
  header.removeHeader('x-not-there')
  header.appendHeader('x-not-there', '1')
  header.removeHeader('x-not-there')
  if (header.fieldCount === 0) same('an edited head without fields', header.toWire(), asReceived)
  return header.toWire()
}
