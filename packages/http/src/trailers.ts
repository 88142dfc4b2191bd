import { isFieldValue, isToken } from './characters.ts'

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

/**
 * Checks a trailer section that was made or edited in code, flat as `[name, value, …]`. Called before one is written
 * that did not come off a connection as it is.
 *
 * @throws {TypeError} If it is no such list, or a field is malformed or forbidden. The message never has a value.
 */
export function checkTrailers(trailers: readonly string[]): void {
  if (!Array.isArray(trailers) || trailers.length % 2 !== 0) {
    throw new TypeError('Trailers must be a flat list of names and values')
  }
  for (let index = 0; index < trailers.length; index += 2) {
    const [name, value] = [trailers[index], trailers[index + 1]]
    if (typeof name !== 'string' || !isToken(name))
      throw new TypeError('The name of a trailer must be a token')
    if (isForbiddenTrailer(name)) throw new TypeError(`"${name}" must not be a trailer`)
    if (typeof value !== 'string' || !isFieldValue(value)) {
      throw new TypeError(
        `Value of trailer "${name}" must be a string without control characters and code units above 255`,
      )
    }
  }
}
