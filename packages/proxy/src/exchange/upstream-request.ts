import type { HttpPeer, ServerSession } from '@cirque/core'
import { type RequestHeader, removeHopByHop, TRAIT_EXPECT } from '@cirque/http'

const KEEP_TE = { keepTrailersTe: true } as const
const KEEP_TE_AND_UPGRADE = { keepTrailersTe: true, keepUpgrade: true } as const

/** HTTP by its names and by those of its versions, also where a server reads a name out of quotes or before a slash. */
const HTTP_AGAIN = /^"?(?:h2c?|http)(?:["/]|$)/

/** Whether an upgrade is passed on. Never one to HTTP again, such as h2c: it would tunnel requests past every filter. */
export function wantsUpgrade(downstream: ServerSession): boolean {
  if (!downstream.isUpgrade) return false
  const protocols = downstream.request.getAll('upgrade').join(',').toLowerCase().split(',')
  return !protocols.some((protocol) => HTTP_AGAIN.test(protocol.trim()))
}

/** The request as it goes upstream, before the user's filter: a copy, fit for another connection. */
export function buildUpstreamRequest(
  downstream: ServerSession,
  peer: HttpPeer,
  upgrade: boolean,
): RequestHeader {
  const request = downstream.request.clone()
  removeHopByHop(request, upgrade ? KEEP_TE_AND_UPGRADE : KEEP_TE)
  // Where no client holds a body back for it an expectation means nothing (RFC 9110 §10.1.1): on HTTP/1.0, or
  // without a body. Some servers would wait all the same, and take the next request for the body.
  if (mayExpect(request) && !(downstream.expectsContinue && downstream.hasRequestBody))
    request.removeHeader('Expect')
  // An origin is asked in origin form (RFC 9112 §3.2.1); only clients of proxies use the absolute one.
  if (request.target.charCodeAt(0) !== 0x2f && request.target !== '*') originForm(request)
  if (request.version !== 'HTTP/1.1' && request.host === undefined)
    request.insertHeader('Host', defaultHost(peer))
  if (request.version === 'HTTP/2' && !downstream.hasRequestBody && !upgrade) sayEmpty(request)
  return request
}

function mayExpect({ lines }: RequestHeader): boolean {
  return lines === null || (lines.traits & TRAIT_EXPECT) !== 0
}

/** HTTP/2 needs no length to end a request; HTTP/1.1 servers ask for one where a body is usual (RFC 9110 §8.6). */
function sayEmpty(request: RequestHeader): void {
  const { method } = request
  if (method !== 'POST' && method !== 'PUT' && method !== 'PATCH') return
  if (!request.has('content-length')) request.insertHeader('Content-Length', '0')
}

function originForm(request: RequestHeader): void {
  const { method, path, query, target, host } = request
  const authority = /^https?:\/\/([^/?]+)/i.exec(target)
  // The target's authority counts, where HTTP/1.0 left Host out (RFC 9112 §3.2.2).
  if (host !== undefined && !request.has('host')) request.insertHeader('Host', host)
  // OPTIONS of the server itself keeps meaning that (RFC 9112 §3.2.4).
  if (method === 'OPTIONS' && authority?.[0].length === target.length) request.setTarget('*')
  else request.setTarget(query === undefined ? path : `${path}?${query}`)
}

/** An HTTP/1.0 client may leave `Host` out; an upstream that is asked in HTTP/1.1 must get one (RFC 9112 §3.2). */
function defaultHost(peer: HttpPeer): string {
  const { address } = peer
  return address?.kind === 'tcp' ? address.text : 'localhost'
}
