import type { HpackDecoder } from '@cirque/hpack'
import { contentLengthOf, isConnectionField, isFieldName, isFieldValue } from './field-rules.ts'

/** A request's field section, checked and taken apart (RFC 9113 §8.3.1). */
export interface Http2Request {
  readonly method: string
  /** `''` in a CONNECT. */
  readonly scheme: string
  /** `''` when there is none: then the `host` field says it, if it is there. */
  readonly authority: string
  /** As sent; `''` in a CONNECT. */
  readonly path: string
  /** The `:protocol` of an extended CONNECT (RFC 8441), or null. */
  readonly protocol: string | null
  /** As declared, or -1. */
  readonly contentLength: number
  /** The other fields, flat, names in lower case; several `cookie` fields are joined (RFC 9113 §8.2.3). */
  readonly fields: string[]
  /** Where the value of `host` stands in `fields`, or -1. */
  readonly hostAt: number
  /** Names of fields that must never be indexed by whoever passes them on (RFC 7541 §6.2.3); null for none. */
  readonly neverIndexed: ReadonlySet<string> | null
}

/** A response's field section, checked and taken apart (RFC 9113 §8.3.2). */
export interface Http2Response {
  readonly status: number
  /** As declared, or -1. */
  readonly contentLength: number
  /** The other fields, flat, names in lower case. */
  readonly fields: string[]
  /** As in a request. */
  readonly neverIndexed: ReadonlySet<string> | null
}

/** Why a field section is malformed (RFC 9113 §8.1.1). */
export type FieldsProblem =
  | 'HTTP2_FIELD'
  | 'HTTP2_CONNECTION_FIELD'
  | 'HTTP2_PSEUDO_FIELD'
  | 'HTTP2_HOST'
  | 'HTTP2_CONTENT_LENGTH'

const COLON = 0x3a
const STATUS = /^[1-5]\d\d$/
const METHOD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** What the decoder knows of a list besides its fields. Where it says that all are well formed, none is looked at again. */
export type BlockFacts = Pick<HpackDecoder, 'malformed' | 'neverIndexed'>

/**
 * Takes a decoded request apart; the code of the problem when it is malformed.
 *
 * @param connectProtocol - Whether extended CONNECT was offered.
 */
export function readRequest(
  raw: readonly string[],
  connectProtocol: boolean,
  { malformed, neverIndexed }: BlockFacts,
): Http2Request | FieldsProblem {
  let method = ''
  let path = ''
  let scheme = ''
  let authority: string | null = null
  let protocol: string | null = null
  let contentLength = -1
  let cookieAt = -1
  let hostAt = -1
  let at = 0
  for (; at < raw.length; at += 2) {
    const name = raw[at] as string
    if (name.charCodeAt(0) !== COLON) break
    const value = raw[at + 1] as string
    if (value === '' || (malformed && !isFieldValue(value))) return 'HTTP2_PSEUDO_FIELD'
    if (name === ':method' && method === '') method = value
    else if (name === ':path' && path === '') path = value
    else if (name === ':scheme' && scheme === '') scheme = value
    else if (name === ':authority' && authority === null) authority = value
    else if (name === ':protocol' && protocol === null && connectProtocol) protocol = value
    else return 'HTTP2_PSEUDO_FIELD'
  }
  const fields: string[] = []
  for (; at < raw.length; at += 2) {
    const name = raw[at] as string
    const value = raw[at + 1] as string
    if (name.charCodeAt(0) === COLON) return 'HTTP2_PSEUDO_FIELD'
    if (malformed && !(isFieldName(name) && isFieldValue(value))) return 'HTTP2_FIELD'
    switch (name) {
      case 'host':
        if (hostAt >= 0) return 'HTTP2_HOST'
        hostAt = fields.length + 1
        break
      case 'content-length':
        if (contentLength >= 0) return 'HTTP2_CONTENT_LENGTH'
        contentLength = contentLengthOf(value)
        if (contentLength < 0) return 'HTTP2_CONTENT_LENGTH'
        break
      case 'cookie':
        if (cookieAt >= 0) {
          fields[cookieAt] = `${fields[cookieAt]}; ${value}`
          continue
        }
        cookieAt = fields.length + 1
        break
      case 'te':
        if (value !== 'trailers') return 'HTTP2_CONNECTION_FIELD'
        break
      default:
        if (isConnectionField(name)) return 'HTTP2_CONNECTION_FIELD'
    }
    fields.push(name, value)
  }
  if (!METHOD.test(method)) return 'HTTP2_PSEUDO_FIELD'
  if (method === 'CONNECT' && protocol === null) {
    // RFC 9113 §8.5.
    if (path !== '' || scheme !== '' || authority === null) return 'HTTP2_PSEUDO_FIELD'
  } else if (path === '' || scheme === '' || (protocol !== null && method !== 'CONNECT')) {
    return 'HTTP2_PSEUDO_FIELD'
  }
  return {
    method,
    scheme,
    authority: authority ?? '',
    path,
    protocol,
    contentLength,
    fields,
    hostAt,
    neverIndexed,
  }
}

/** Takes a decoded response apart, final or informational; the code of the problem when it is malformed. */
export function readResponse(
  raw: readonly string[],
  { malformed, neverIndexed }: BlockFacts,
): Http2Response | FieldsProblem {
  const status = raw[1]
  if (raw[0] !== ':status' || status === undefined || !STATUS.test(status)) return 'HTTP2_PSEUDO_FIELD'
  let contentLength = -1
  const fields: string[] = []
  for (let at = 2; at < raw.length; at += 2) {
    const name = raw[at] as string
    const value = raw[at + 1] as string
    if (name.charCodeAt(0) === COLON) return 'HTTP2_PSEUDO_FIELD'
    if (malformed && !(isFieldName(name) && isFieldValue(value))) return 'HTTP2_FIELD'
    if (name === 'content-length') {
      if (contentLength >= 0) return 'HTTP2_CONTENT_LENGTH'
      contentLength = contentLengthOf(value)
      if (contentLength < 0) return 'HTTP2_CONTENT_LENGTH'
    } else if (isConnectionField(name)) return 'HTTP2_CONNECTION_FIELD'
    fields.push(name, value)
  }
  return { status: Number(status), contentLength, fields, neverIndexed }
}

/** Checks a decoded trailer section; the code of the problem when it is malformed. */
export function checkTrailers(raw: readonly string[], { malformed }: BlockFacts): FieldsProblem | null {
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string
    if (name.charCodeAt(0) === COLON) return 'HTTP2_PSEUDO_FIELD'
    if (malformed && !(isFieldName(name) && isFieldValue(raw[at + 1] as string))) return 'HTTP2_FIELD'
    if (isConnectionField(name)) return 'HTTP2_CONNECTION_FIELD'
  }
  return null
}
