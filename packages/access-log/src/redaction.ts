/** What must not get into a log. Names are compared in lower case. */
export interface Redaction {
  /** Parameters of queries, in `$request`, `$request_uri`, `$args`, `$arg_…` and `$http_referer`. Default {@link REDACTED_QUERY_DEFAULT}. */
  readonly query?: readonly string[]
  /** Fields, in `$http_…`. Default {@link REDACTED_HEADERS_DEFAULT}. */
  readonly headers?: readonly string[]
}

/** What commonly carries secrets in queries. */
export const REDACTED_QUERY_DEFAULT: readonly string[] = Object.freeze([
  'access_token',
  'api_key',
  'apikey',
  'client_secret',
  'code',
  'id_token',
  'password',
  'passwd',
  'refresh_token',
  'secret',
  'sig',
  'signature',
  'token',
  'x-amz-credential',
  'x-amz-security-token',
  'x-amz-signature',
  'x-goog-signature',
])

/** What commonly carries secrets in fields. */
export const REDACTED_HEADERS_DEFAULT: readonly string[] = Object.freeze([
  'authorization',
  'cookie',
  'proxy-authorization',
  'x-api-key',
  'x-auth-token',
])

/** What stands in a log in place of a secret. */
export const REDACTED = '[redacted]'

/** Takes secrets out of targets, queries and fields. */
export class Redactor {
  readonly #query: ReadonlySet<string>
  readonly #queryLengthMin: number
  readonly #headers: ReadonlySet<string>

  /** @throws {TypeError} If a list is none. */
  constructor(redaction: Redaction = {}) {
    this.#query = names('query', redaction.query ?? REDACTED_QUERY_DEFAULT)
    this.#queryLengthMin = Math.min(...Array.from(this.#query, (name) => name.length))
    this.#headers = names('headers', redaction.headers ?? REDACTED_HEADERS_DEFAULT)
  }

  isSecretField(lowercaseName: string): boolean {
    return this.#headers.has(lowercaseName)
  }

  isSecretParameter(name: string): boolean {
    // Decoding makes names shorter, never longer: most can be told by that.
    if (name.length < this.#queryLengthMin) return false
    return this.#query.has(plainName(name))
  }

  /** A target or URL with the secrets of its query, and of a fragment that looks like one, redacted. */
  target(target: string): string {
    const question = target.indexOf('?')
    const hash = target.indexOf('#')
    const at = question < 0 ? hash : hash < 0 ? question : Math.min(question, hash)
    if (at < 0 || this.#query.size === 0) return target
    const rest = this.query(target.slice(at + 1))
    return target.slice(0, at + 1) + rest
  }

  /** A query, without its question mark. */
  query(query: string): string {
    if (this.#query.size === 0) return query
    let redacted = ''
    let start = 0
    while (start <= query.length) {
      let end = endOfPair(query, start)
      const equals = equalsIn(query, start, end)
      if (equals >= 0 && this.isSecretParameter(query.slice(start, equals))) {
        // To most applications the other separators are part of the value.
        const ampersand = query.indexOf('&', equals)
        end = ampersand < 0 ? query.length : ampersand
        redacted += `${query.slice(start, equals)}=${REDACTED}${query.slice(end, end + 1)}`
      } else redacted += query.slice(start, end + 1)
      start = end + 1
    }
    return redacted
  }
}

/** Where the pair that begins at `start` ends: applications separate with `&`, some also with `;`, and browsers with `#`. */
function endOfPair(query: string, start: number): number {
  for (let at = start; at < query.length; at++) {
    const code = query.charCodeAt(at)
    if (code === 0x26 || code === 0x3b || code === 0x23 || code === 0x3f) return at
  }
  return query.length
}

/** Never looks beyond the pair: a query of thousands of empty ones must not cost their square. */
function equalsIn(query: string, start: number, end: number): number {
  for (let at = start; at < end; at++) if (query.charCodeAt(at) === 0x3d) return at
  return -1
}

/** The name as an application would read it: a secret must not get through as `%74oken`. */
function plainName(name: string): string {
  let plain = name.includes('+') ? name.replaceAll('+', ' ') : name
  if (name.includes('%')) {
    try {
      plain = decodeURIComponent(plain)
    } catch {
      plain = plain.replaceAll(/%([0-7][0-9a-f])/gi, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      )
    }
  }
  return plain
    .trim()
    .replace(/\[\d*\]$/, '')
    .toLowerCase()
}

function names(option: string, list: readonly string[]): ReadonlySet<string> {
  if (!Array.isArray(list) || list.some((name) => typeof name !== 'string' || name === '')) {
    throw new TypeError(`redact.${option} must be an array of names`)
  }
  return new Set(list.map((name) => name.toLowerCase()))
}
