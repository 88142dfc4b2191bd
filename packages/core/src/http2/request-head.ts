import { isFieldValue, isForbiddenTrailer, isHostPort, isToken, RequestHeader } from '@cirque/http'

/** What a request's HEADERS say, checked. */
export interface Http2RequestHead {
  readonly header: RequestHeader
  /** As declared, or -1. */
  readonly contentLength: number
  /** The client waits for a 100 before its body. */
  readonly expectContinue: boolean
  /** An extended CONNECT for a WebSocket (RFC 8441); there is no other protocol that we know. */
  readonly webSocket: boolean
}

/** A request that is not passed on: the status to answer with, and why, for the counters. */
export interface Http2HeadRefusal {
  readonly status: number
  readonly code: string
}

/** Bounds of a request's head. */
export interface Http2HeadLimits {
  readonly targetBytesMax: number
  readonly fieldsMax: number
}

/**
 * A path in origin form: visible ASCII without `#`, and no backslash before the query, as strict HTTP/1 takes
 * it. What is refused there must not get in here and be written there.
 */
const PATH = /^\/[\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]*(?:\?[\x21\x22\x24-\x7e]*)?$/
/** A field name: a token without upper case (RFC 9113 §8.2.1). */
const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const LENGTH = /^\d{1,15}$/

const MALFORMED_FIELD: Http2HeadRefusal = { status: 400, code: 'HTTP2_FIELD' }
const CONNECTION_FIELD: Http2HeadRefusal = { status: 400, code: 'HTTP2_CONNECTION_FIELD' }
const MALFORMED_PSEUDO: Http2HeadRefusal = { status: 400, code: 'HTTP2_PSEUDO_FIELD' }
const MALFORMED_HOST: Http2HeadRefusal = { status: 400, code: 'HTTP2_HOST' }
const MALFORMED_LENGTH: Http2HeadRefusal = { status: 400, code: 'HTTP2_CONTENT_LENGTH' }
const MALFORMED_TARGET: Http2HeadRefusal = { status: 400, code: 'HTTP2_TARGET' }
const TARGET_TOO_LONG: Http2HeadRefusal = { status: 414, code: 'TARGET_TOO_LONG' }
const TOO_MANY_FIELDS: Http2HeadRefusal = { status: 431, code: 'TOO_MANY_FIELDS' }
const UNKNOWN_PROTOCOL: Http2HeadRefusal = { status: 501, code: 'HTTP2_PROTOCOL' }
const UNKNOWN_EXPECTATION: Http2HeadRefusal = { status: 417, code: 'EXPECTATION' }

/** True for a refusal. */
export function isRefusal(head: Http2RequestHead | Http2HeadRefusal): head is Http2HeadRefusal {
  return 'status' in head
}

/**
 * Makes a request header out of a decoded field block, fit to be written as HTTP/1.1.
 *
 * The HTTP/2 library refuses most malformed blocks by itself. Everything that could change a message's meaning
 * once it is HTTP/1 (RFC 9113 §10.3) is checked here all the same, so that safety does not hang on its version.
 *
 * @param raw - Name and value in turn, as `node:http2` gives them: the pseudo-fields with their colon.
 */
export function readRequestHead(
  raw: readonly string[],
  limits: Http2HeadLimits,
): Http2RequestHead | Http2HeadRefusal {
  let method = ''
  let path = ''
  let scheme = ''
  let authority = ''
  let protocol: string | null = null
  let host: string | null = null
  let length: string | null = null
  let expectContinue = false
  let cookieAt = 0
  const fields: string[] = ['Host', '']
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    if (!isFieldValue(value)) return MALFORMED_FIELD
    if (name.charCodeAt(0) === COLON) {
      if (name === ':method' && method === '') method = value
      else if (name === ':path' && path === '') path = value
      else if (name === ':scheme' && scheme === '') scheme = value
      else if (name === ':authority' && authority === '') authority = value
      else if (name === ':protocol' && protocol === null) protocol = value
      else return MALFORMED_PSEUDO
      continue
    }
    if (!FIELD_NAME.test(name)) return MALFORMED_FIELD
    switch (name) {
      case 'host':
        if (host !== null) return MALFORMED_HOST
        host = value
        continue
      case 'content-length':
        if (length !== null || !LENGTH.test(value)) return MALFORMED_LENGTH
        length = value
        break
      case 'cookie':
        // One field in HTTP/1 (RFC 9113 §8.2.3).
        if (cookieAt > 0) {
          fields[cookieAt] = `${fields[cookieAt]}; ${value}`
          continue
        }
        cookieAt = fields.length + 1
        break
      case 'te':
        if (value !== 'trailers') return CONNECTION_FIELD
        break
      case 'expect':
        if (value.toLowerCase() !== '100-continue') return UNKNOWN_EXPECTATION
        expectContinue = true
        break
      case 'connection':
      case 'keep-alive':
      case 'proxy-connection':
      case 'transfer-encoding':
      case 'upgrade':
      case 'http2-settings':
        return CONNECTION_FIELD
    }
    fields.push(name, value)
  }
  if (fields.length > limits.fieldsMax * 2) return TOO_MANY_FIELDS
  const refusal = checkTarget(method, scheme, path, protocol, limits)
  if (refusal !== null) return refusal
  if (protocol !== null && protocol !== 'websocket') return UNKNOWN_PROTOCOL
  const named = authorityOf(authority, host, scheme)
  if (named === null) return MALFORMED_HOST
  fields[1] = named
  const target = method === 'CONNECT' && protocol === null ? named : path
  return {
    header: new RequestHeader(method, target, 'HTTP/2', fields),
    contentLength: length === null ? -1 : Number(length),
    expectContinue,
    webSocket: protocol !== null,
  }
}

const COLON = 0x3a

function checkTarget(
  method: string,
  scheme: string,
  path: string,
  protocol: string | null,
  limits: Http2HeadLimits,
): Http2HeadRefusal | null {
  if (!isToken(method)) return MALFORMED_PSEUDO
  if (method === 'CONNECT' && protocol === null) return path === '' && scheme === '' ? null : MALFORMED_PSEUDO
  if (protocol !== null && (method !== 'CONNECT' || !isToken(protocol))) return MALFORMED_PSEUDO
  if (scheme !== 'http' && scheme !== 'https') return MALFORMED_PSEUDO
  if (path.length > limits.targetBytesMax) return TARGET_TOO_LONG
  if (path === '*') return method === 'OPTIONS' ? null : MALFORMED_TARGET
  return PATH.test(path) ? null : MALFORMED_TARGET
}

/** The authority to send as `Host`; null when there is none, or two that differ (RFC 9113 §8.3.1). */
function authorityOf(authority: string, host: string | null, scheme: string): string | null {
  const named = authority === '' ? host : authority
  if (named === null || !isHostPort(named)) return null
  if (host === null || host === named) return named
  return canonical(host, scheme) === canonical(named, scheme) ? named : null
}

function canonical(authority: string, scheme: string): string {
  const lower = authority.toLowerCase()
  const port = scheme === 'https' ? ':443' : ':80'
  return lower.endsWith(port) ? lower.slice(0, -port.length) : lower
}

/**
 * The trailer fields of either side, without those that mean nothing there (RFC 9110 §6.5.1); null for none.
 * Malformed ones are dropped too: their message's length is settled without them.
 */
export function readTrailers(raw: readonly string[]): string[] | null {
  const trailers: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    if (FIELD_NAME.test(name) && isFieldValue(value) && !isForbiddenTrailer(name)) trailers.push(name, value)
  }
  return trailers.length === 0 ? null : trailers
}
