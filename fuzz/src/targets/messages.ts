import { ChunkedDecoder, HEAD_FAILED, latin1, NEED_MORE, RequestHeadParser } from '@cirque/http'
import fc from 'fast-check'
import { same } from '../check.ts'
import { bytesOf, chunkedBody, requestHead } from '../http-grammar.ts'
import { hasProxyConnection, KNOWN_METHODS, type Message, readRequests } from '../llhttp.ts'
import type { Target } from '../target.ts'

const parser = new RequestHeadParser()
const decoder = new ChunkedDecoder()

/** The complete requests at the start of `bytes`, as a connection of ours would read them, and where they end. */
function readOurs(bytes: Buffer): { messages: Message[]; end: number } {
  const messages: Message[] = []
  let at = 0
  parser.memo = null
  for (;;) {
    parser.reset()
    const bodyStart = parser.execute(bytes, at, bytes.length)
    if (bodyStart === NEED_MORE || bodyStart === HEAD_FAILED) break
    const { method, target: uri, version, fields } = parser.takeHeader()
    let body = ''
    let after = bodyStart + Math.max(0, parser.contentLength)
    if (parser.chunked) {
      decoder.reset()
      const sink = {
        onChunkData: (chunk: Buffer, start: number, end: number) => {
          body += latin1(chunk, start, end)
        },
      }
      after = decoder.execute(bytes, bodyStart, bytes.length, sink)
      if (after < 0) break
    } else {
      if (after > bytes.length) break
      body = latin1(bytes, bodyStart, after)
    }
    const trailers = parser.chunked ? (decoder.trailers ?? []) : []
    if (!KNOWN_METHODS.has(method) || hasProxyConnection(fields) || isOldUpgrade(version, fields)) break
    // node:http hands the connection over with such a head, before any body.
    if (parser.upgrade || method === 'CONNECT') body = ''
    messages.push({ start: `${method} ${uri}`, version, fields, body, trailers, complete: true })
    at = after
    // What follows belongs to another protocol, or to nobody.
    if (parser.upgrade || method === 'CONNECT' || !parser.keepAlive) break
  }
  return { messages, end: at }
}

/** RFC 9110 §7.8: `Upgrade` on HTTP/1.0 is ignored, but llhttp takes it for one. */
function isOldUpgrade(version: string, fields: readonly string[]): boolean {
  return (
    version === 'HTTP/1.0' &&
    fields.some((text, index) => index % 2 === 0 && text.toLowerCase() === 'upgrade')
  )
}

/** Requests in a row with their bodies: where each one ends is where llhttp ends it, and its body is the same. */
export const target: Target = {
  name: 'messages',
  seeds: [
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n',
    'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00A;a="b;c"\r\n0123456789\r\n000\r\n\r\n',
  ],
  inputs: bytesOf(
    fc
      .array(fc.tuple(requestHead, fc.oneof(chunkedBody, fc.constantFrom('', 'abcde'))), {
        minLength: 1,
        maxLength: 3,
      })
      .map((messages) => messages.flat().join('')),
  ),
  run(input) {
    const { messages, end } = readOurs(input)
    if (messages.length === 0) return
    const theirs = readRequests(input.subarray(0, end))
    // After an upgrade node:http reads no further, and calls the request incomplete.
    const compared = theirs.messages.map((message, index) =>
      index === messages.length - 1 ? { ...message, complete: true } : message,
    )
    same(
      'llhttp reads the same requests',
      { messages: compared, refusal: theirs.refusal },
      { messages, refusal: undefined },
    )
  },
}
