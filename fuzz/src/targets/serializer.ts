import {
  HEAD_FAILED,
  RequestHeader,
  RequestHeadParser,
  ResponseHeader,
  ResponseHeadParser,
} from '@cirque/http'
import fc from 'fast-check'
import { holds, orRefused, same } from '../check.ts'
import { anyText } from '../http-grammar.ts'
import type { Target } from '../target.ts'

const requests = new RequestHeadParser({ profile: 'strict' })
const responses = new ResponseHeadParser({ profile: 'strict' })
/** What a parser may still object to in lines that were written well: what they mean, not what they are. */
const SYNTAX =
  /^(?:BARE_|INVALID_FIELD|OBSOLETE_FOLD|SPACE_BEFORE_COLON|LEADING_SPACE|INVALID_STATUS_LINE|INVALID_REQUEST_LINE|INVALID_METHOD|INVALID_VERSION)/

/** Bytes as strings, some of which are not latin1: byte 0xff stands for a code unit above 255. */
function wordsOf(input: Buffer): string[] {
  return input.toString('latin1').replaceAll('\xff', '\u{1f600}').split('\x01')
}

/** No name, value, method, target or reason that is accepted can make another line on the wire than its own. */
function checkLines(wire: string, start: string, fields: readonly string[]): void {
  const lines = wire.split('\r\n')
  same('a line for each field and two empty ones', lines.length, fields.length / 2 + 3)
  same('no other line end', /[\r\n\0]/.test(lines.join('')), false)
  same('one byte for each code unit', Buffer.from(wire, 'latin1').toString('latin1') === wire, true)
  same('the start line', lines[0], start)
  for (let index = 0; index < fields.length; index += 2) {
    same('the field line', lines[1 + index / 2], `${fields[index]}: ${fields[index + 1]}`)
  }
}

function checkParse(
  parser: RequestHeadParser | ResponseHeadParser,
  wire: string,
  fields: readonly string[],
): void {
  const bytes = Buffer.from(wire, 'latin1')
  parser.reset()
  parser.memo = null
  const after = parser.execute(bytes, 0, bytes.length)
  if (after === HEAD_FAILED) {
    holds(
      `the parser takes what was written, not ${parser.failure?.code}`,
      !SYNTAX.test(parser.failure?.code ?? ''),
    )
    return
  }
  same('the whole is one head', after, bytes.length)
  same('the fields read as they were written', parser.takeHeader().fields, fields)
}

/** Heads made in code: words apart by 0x01 are method, target or reason, and edits of the fields. */
export const target: Target = {
  name: 'serializer',
  seeds: ['GET\x01/\x01iHost\x01a\x01aX\x01y\x01rX\x01', 'OK\x01/\x01aA\x01 b \x01iA\x01c\r\n'],
  words: ['\x01', '\x01i', '\x01a', '\x01r', '\r\n'],
  inputs: fc
    .array(fc.oneof(anyText, fc.constantFrom('GET', '/', 'iHost', 'aSet-Cookie', 'rhost', 'a', '')), {
      maxLength: 12,
    })
    .map((words) => Buffer.from(words.join('\x01'), 'latin1')),
  run(input) {
    const [first = '', second = '', ...edits] = wordsOf(input)
    const request = orRefused(() => RequestHeader.build(first, second), TypeError)
    const response = orRefused(() => ResponseHeader.build(200, [], first), TypeError)
    const model: [string, string][] = []
    for (let index = 0; index + 1 < edits.length; index += 2) {
      const name = edits[index]?.slice(1) ?? ''
      const value = edits[index + 1] ?? ''
      const kind = edits[index]?.[0]
      const same = ([other]: [string, string]) => other.toLowerCase() === name.toLowerCase()
      for (const header of [request, response]) {
        if (kind === 'r') header?.removeHeader(name)
        else if (kind === 'i') orRefused(() => header?.insertHeader(name, value), TypeError)
        else orRefused(() => header?.appendHeader(name, value), TypeError)
      }
      const valid = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) && !/[^\t\x20-\x7e\x80-\xff]/.test(value)
      const pair: [string, string] = [name, value.replace(/^[ \t]+|[ \t]+$/g, '')]
      const at = model.findIndex(same)
      if (kind === 'r') model.splice(0, model.length, ...model.filter((each) => !same(each)))
      else if (!valid) continue
      else if (kind !== 'i' || at < 0) model.push(pair)
      else
        model.splice(
          0,
          model.length,
          ...model.map((each, i) => (i === at ? pair : each)).filter((each, i) => i <= at || !same(each)),
        )
    }
    const fields = model.flat()
    if (request !== undefined) {
      same('edits do what a plain list does', request.fields, fields)
      checkLines(request.toWire(), `${first} ${second} HTTP/1.1`, fields)
      checkParse(requests, request.toWire(), fields)
    }
    if (response !== undefined) {
      same('edits do what a plain list does', response.fields, fields)
      checkLines(response.toWire(), `HTTP/1.1 200 ${first}`, fields)
      checkParse(responses, response.toWire(), fields)
    }
  },
}
