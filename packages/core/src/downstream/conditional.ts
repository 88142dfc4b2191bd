import { parseHttpDate, type RequestHeader, type ResponseHeader } from '@cirque/http'

/** An entity tag, or what some send in its place: a bare word. */
const ENTITY_TAG = /^(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*"|[^\s",]+)/
const SEPARATORS = /^[\s,]+/

/**
 * True when a conditional request is answered by 304 in place of `response`: the client has it already (RFC
 * 9110 §13.2.2). Only for GET and HEAD, and a response with 200.
 *
 * `If-None-Match` decides when it is there, by the weak comparison; `If-Modified-Since` else. `If-Match` and
 * `If-Unmodified-Since` are left to the origin: they protect what is stored there.
 */
export function notModifiedFilter(request: RequestHeader, response: ResponseHeader): boolean {
  if (response.status !== 200 || (request.method !== 'GET' && request.method !== 'HEAD')) return false
  const tags = request.getCombined('if-none-match')
  if (tags !== undefined) {
    const etag = response.get('etag')
    return tags.trim() === '*' || (etag !== undefined && listsEntityTag(tags, etag))
  }
  const since = request.getAll('if-modified-since')
  const modified = response.get('last-modified')
  if (since.length !== 1 || modified === undefined) return false
  const sinceMs = parseHttpDate(since[0] as string)
  const modifiedMs = parseHttpDate(modified)
  return sinceMs !== undefined && modifiedMs !== undefined && sinceMs >= modifiedMs
}

/** True when a list of entity tags holds `etag` by the weak comparison (RFC 9110 §8.8.3.2). */
export function listsEntityTag(list: string, etag: string): boolean {
  const wanted = opaqueTag(etag)
  let rest = list
  while (rest !== '') {
    rest = rest.replace(SEPARATORS, '')
    const match = ENTITY_TAG.exec(rest)
    // What cannot be read ends the list: a match beyond it would be a guess.
    if (match === null) return false
    if (opaqueTag(match[1] as string) === wanted) return true
    rest = rest.slice(match[0].length)
  }
  return false
}

function opaqueTag(tag: string): string {
  const opaque = tag.startsWith('W/') ? tag.slice(2) : tag
  return opaque.length > 1 && opaque.startsWith('"') && opaque.endsWith('"') ? opaque.slice(1, -1) : opaque
}

const NOT_OF_304 = [
  'Content-Length',
  'Content-Type',
  'Content-Encoding',
  'Content-Language',
  'Content-Range',
  'Transfer-Encoding',
  'Accept-Ranges',
]

/** Turns a response's head into the 304 for it: what describes a body that is not sent goes (RFC 9110 §15.4.5). */
export function toNotModified(response: ResponseHeader): void {
  response.setStatus(304)
  for (const name of NOT_OF_304) response.removeHeader(name)
}
