import { rejectUnknown } from './check.ts'

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
  /** How long the names are: most others can be told by that. */
  readonly #queryLengths: ReadonlySet<number>
  readonly #headers: ReadonlySet<string>

  /** @throws {TypeError} If a list is none. */
  constructor(redaction: Redaction = {}) {
    rejectUnknown(redaction, ['query', 'headers'], 'redact')
    this.#query = names('query', redaction.query ?? REDACTED_QUERY_DEFAULT)
    this.#queryLengths = new Set(Array.from(this.#query, (name) => name.length))
    this.#headers = names('headers', redaction.headers ?? REDACTED_HEADERS_DEFAULT)
  }

  isSecretField(lowercaseName: string): boolean {
    return this.#headers.has(lowercaseName)
  }

  /** Whether the name that stands in `text` from `start` to `end` is that of a secret. */
  #isSecretName(text: string, start: number, end: number): boolean {
    if (!this.#queryLengths.has(end - start) && isSpelledPlainly(text, start, end)) return false
    return this.#query.has(plainName(text.slice(start, end)))
  }

  /** A target or URL with the secrets of its query, and of a fragment that looks like one, redacted. */
  target(target: string): string {
    const question = target.indexOf('?')
    const hash = target.indexOf('#')
    const at = question < 0 ? hash : hash < 0 ? question : Math.min(question, hash)
    if (at < 0 || this.#query.size === 0) return target
    return this.#redacted(target, at + 1)
  }

  /** A query, without its question mark. */
  query(query: string): string {
    return this.#query.size === 0 ? query : this.#redacted(query, 0)
  }

  /** `text` with the secrets redacted among the pairs that begin at `from`; the same string if there are none. */
  #redacted(text: string, from: number): string {
    let redacted = ''
    /** Up to here the text is in `redacted`. */
    let taken = 0
    let start = from
    while (start <= text.length) {
      let end = endOfPair(text, start)
      const equals = equalsIn(text, start, end)
      if (equals >= 0 && this.#isSecretName(text, start, equals)) {
        // To most applications the other separators are part of the value.
        const ampersand = text.indexOf('&', equals)
        end = ampersand < 0 ? text.length : ampersand
        redacted += `${text.slice(taken, equals)}=${REDACTED}`
        taken = end
      }
      start = end + 1
    }
    return taken === 0 ? text : redacted + text.slice(taken)
  }
}

/** True for a name that reads as it is spelled, but for its case. */
function isSpelledPlainly(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const code = text.charCodeAt(at)
    // Letters, digits and what names are commonly joined with.
    if (code < 0x2d || code > 0x7a || code === 0x5b) return false
  }
  return true
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
