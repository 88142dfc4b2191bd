/**
 * Fields that must not be sent as trailers (RFC 9110 §6.5.1): those for framing, routing, request
 * modifiers, authentication, response control, and the handling of content. All of them would have to be
 * known before the body, and merging them afterwards changes what was already decided.
 */
const FORBIDDEN: ReadonlySet<string> = new Set([
  'accept-encoding',
  'age',
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'http2-settings',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'keep-alive',
  'location',
  'max-forwards',
  'pragma',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'range',
  'retry-after',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'vary',
  'via',
  'warning',
  'www-authenticate',
  'x-real-ip',
])

/** True for a field that may not stand in a trailer section, in any case; `X-Forwarded-*` among them. */
export function isForbiddenTrailer(name: string): boolean {
  const lower = name.toLowerCase()
  return FORBIDDEN.has(lower) || lower.startsWith('x-forwarded-')
}
