import { isForbiddenTrailer, isHostPort, isToken, RequestHeader } from '@cirque/http'
import type { Http2Request } from '@cirque/http2'

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

const MALFORMED_PSEUDO: Http2HeadRefusal = { status: 400, code: 'HTTP2_PSEUDO_FIELD' }
const MALFORMED_HOST: Http2HeadRefusal = { status: 400, code: 'HTTP2_HOST' }
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
 * Makes a request header out of a request, fit to be written as HTTP/1.1. What is malformed in HTTP/2's own terms
 * was refused before; here is what could change a message's meaning once it is HTTP/1 (RFC 9113 §10.3).
 */
export function readRequestHead(
  request: Http2Request,
  limits: Http2HeadLimits,
): Http2RequestHead | Http2HeadRefusal {
  const { method, path, scheme, protocol, contentLength, fields, hostAt } = request
  const refusal = checkTarget(method, scheme, path, protocol, limits)
  if (refusal !== null) return refusal
  if (protocol !== null && protocol !== 'websocket') return UNKNOWN_PROTOCOL
  const host = hostAt < 0 ? null : (fields[hostAt] as string)
  const named = authorityOf(request.authority, host, scheme)
  if (named === null) return MALFORMED_HOST
  const all: string[] = ['Host', named]
  let expectContinue = false
  for (let i = 0; i < fields.length; i += 2) {
    if (i + 1 === hostAt) continue
    const name = fields[i] as string
    const value = fields[i + 1] as string
    if (name === 'expect') {
      if (expectContinue || value.toLowerCase() !== '100-continue') return UNKNOWN_EXPECTATION
      expectContinue = true
    }
    all.push(name, value)
  }
  if (all.length > limits.fieldsMax * 2) return TOO_MANY_FIELDS
  const target = method === 'CONNECT' && protocol === null ? named : path
  const header = new RequestHeader(method, target, 'HTTP/2', all)
  header.neverIndexed = request.neverIndexed
  return {
    header,
    contentLength,
    expectContinue,
    webSocket: protocol !== null,
  }
}

function checkTarget(
  method: string,
  scheme: string,
  path: string,
  protocol: string | null,
  limits: Http2HeadLimits,
): Http2HeadRefusal | null {
  if (method === 'CONNECT' && protocol === null) return null
  if (protocol !== null && !isToken(protocol)) return MALFORMED_PSEUDO
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

/** The trailer fields of either side, without those that mean nothing there (RFC 9110 §6.5.1); null for none. */
export function passedTrailers(fields: readonly string[] | null): string[] | null {
  if (fields === null) return null
  const trailers: string[] = []
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] as string
    if (!isForbiddenTrailer(name)) trailers.push(name, fields[i + 1] as string)
  }
  return trailers.length === 0 ? null : trailers
}
