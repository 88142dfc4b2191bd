import { bounded } from './bounded.ts'
import { equalsIgnoreCase, TARGET_LENIENT, TARGET_PATH, TARGET_QUERY, TOKEN } from './characters.ts'
import { collapse } from './collapse.ts'
import type { FieldLines } from './field-lines.ts'
import { RAN_OUT, scanner } from './field-scanner.ts'
import { type HeadFailure, type HeadFailureCode, REQUEST_FAILURES } from './head-failure.ts'
import { type HeadMemo, HeadParser, type HeadParserOptions, type OwnFacts } from './head-parser.ts'
import { isHostPort, isPlainHost, parseHostPort, sameAuthority } from './host.ts'
import { RequestHeader } from './request-header.ts'

const CR = 0x0d
const LF = 0x0a
const SP = 0x20
const ASTERISK = 0x2a
const SLASH = 0x2f
const QUESTION = 0x3f

/** Longest method that is not answered with 501 (RFC 9112 §3). The longest registered one has 17 bytes. */
const METHOD_BYTES_MAX = 32
const TARGET_BYTES_CEILING = 1_048_576
const VERSION_11 = 'HTTP/1.1\r\n'
const VERSION_10 = 'HTTP/1.0\r\n'
const WELL_FORMED_VERSION = /^HTTP\/\d\.\d$/
const ABSOLUTE = /^https?:\/\//i

/**
 * Reads request heads off a connection, one after the other (RFC 9112 §3 and §5), and refuses what two
 * readers could understand in two ways.
 *
 * @example
 * const after = parser.execute(chunk, 0, chunk.length)
 * if (after === HEAD_FAILED) return respondAndClose(parser.failure)
 * if (after === NEED_MORE) return
 * const request = parser.takeHeader()          // the body starts at chunk[after]
 */
export class RequestHeadParser extends HeadParser {
  /** The head that was completed last, until it is taken. */
  header: RequestHeader | null = null
  /** True for `Expect: 100-continue` on HTTP/1.1; HTTP/1.0 cannot ask (RFC 9110 §10.1.1). */
  expectContinue: boolean = false

  private readonly targetBytesMax: number
  private method: string = ''
  private target: string = ''
  private host: string | null = null

  /** @throws {RangeError} If a limit is out of its bounds. @throws {TypeError} If the profile is unknown. */
  constructor(options: HeadParserOptions = {}) {
    super(options)
    this.targetBytesMax = bounded('targetBytesMax', options.targetBytesMax ?? 8192, 1, TARGET_BYTES_CEILING)
  }

  /**
   * Hands over the completed head; the parser keeps no reference.
   *
   * @throws {Error} If there is none: `execute` has not returned an offset since the last call.
   */
  takeHeader(): RequestHeader {
    const header = this.header
    if (header === null) throw new Error('No request head is complete')
    this.header = null
    return header
  }

  protected override parseStartLine(
    bytes: Buffer,
    start: number,
    end: number,
    text: string,
    base: number,
  ): number {
    this.header = null
    this.host = null
    this.expectContinue = false
    let index = start
    while (index < end && TOKEN[bytes[index] as number] === 1) index++
    if (index === end) return RAN_OUT
    if (bytes[index] !== SP || index === start) {
      return this.refuse(bytes[index] === CR ? lineEndCode(bytes[index + 1]) : 'INVALID_METHOD')
    }
    if (index - start > METHOD_BYTES_MAX) return this.refuse('METHOD_TOO_LONG')
    this.method = methodOf(text, start - base, index - base)
    const targetStart = index + 1
    index = this.targetEnd(bytes, targetStart, end)
    if (index === end) return RAN_OUT
    if (bytes[index] !== SP || index === targetStart) {
      if (bytes[index] === CR) return this.refuse(lineEndCode(bytes[index + 1]))
      return this.refuse(bytes[index] === SP ? 'INVALID_REQUEST_LINE' : 'INVALID_TARGET')
    }
    this.target = text.substring(targetStart - base, index - base)
    if (index - targetStart > this.targetBytesMax) return this.refuse('TARGET_TOO_LONG')
    const after = this.parseVersion(bytes, index + 1, end, text, base)
    if (after < 0) return after
    if (bytes[targetStart] !== SLASH || this.method === 'CONNECT') {
      if (!this.isTargetForm(bytes[targetStart] as number)) return this.refuse('INVALID_TARGET')
    }
    return after
  }

  protected override takeSpecialField(bytes: Buffer, nameLength: number, value: string): boolean {
    if (nameLength === 4) {
      if (this.host !== null) {
        this.code = 'DUPLICATE_HOST'
        return false
      }
      this.host = value
      if (isPlainHost(bytes, scanner.valueStart, scanner.valueEnd) || isHostPort(value)) return true
      if (this.lenient && value === '') return true
      this.code = 'INVALID_HOST'
      return false
    }
    if (nameLength === 6) {
      if (this.oldVersion) return true
      // Said twice it is a list of two, and some wait for one 100 where others wait for two.
      if (!this.expectContinue && equalsIgnoreCase(value, '100-continue')) {
        this.expectContinue = true
        return true
      }
      this.code = 'UNSUPPORTED_EXPECTATION'
      return false
    }
    return true
  }

  protected override finish(fields: string[] | FieldLines): boolean {
    const host = this.host
    if (host === null && !this.oldVersion) {
      this.code = 'MISSING_HOST'
      return false
    }
    if (this.target.charCodeAt(0) !== SLASH && !this.matchesHost(host, fields)) {
      this.code = 'HOST_MISMATCH'
      return false
    }
    this.header = new RequestHeader(
      this.method,
      this.target,
      this.oldVersion ? 'HTTP/1.0' : 'HTTP/1.1',
      fields,
    )
    this.forget()
    return true
  }

  /** Any target but one in origin form has to agree with `Host`. */
  protected override memoFits(): boolean {
    return this.target.charCodeAt(0) === SLASH && this.method !== 'CONNECT'
  }

  protected override ownFacts(): OwnFacts {
    return { flag: this.expectContinue, first: 0, second: 0 }
  }

  protected override takeMemo(memo: HeadMemo): void {
    this.expectContinue = memo.own.flag
    const version = this.oldVersion ? 'HTTP/1.0' : 'HTTP/1.1'
    this.header = new RequestHeader(this.method, this.target, version, memo.lines)
    this.forget()
  }

  protected override keepStartLine(text: string, start: number, end: number): void {
    if (this.header !== null && !this.oldVersion) this.header.startLine = text.substring(start, end)
  }

  protected override canStart(byte: number): boolean {
    return TOKEN[byte] === 1
  }

  protected override skipsEmptyLines(): boolean {
    return true
  }

  protected override dropHeader(): void {
    this.header = null
    this.forget()
  }

  protected override failureOf(code: HeadFailureCode): HeadFailure {
    return REQUEST_FAILURES[code]
  }

  /** The parts of a head are parts of its text, which an idle parser must not keep. */
  private forget(): void {
    this.method = ''
    this.target = ''
    this.host = null
  }

  /** RFC 9110 §15.5.15: when the request line alone is too long, 414 says so better than 431. */
  protected override oversizeCode(text: string): HeadFailureCode {
    const space = text.indexOf(' ')
    if (space < 0) return 'HEAD_TOO_LARGE'
    const rest = text.slice(space + 1)
    const end = rest.search(/[ \r\n]/)
    return (end < 0 ? rest.length : end) > this.targetBytesMax ? 'TARGET_TOO_LONG' : 'HEAD_TOO_LARGE'
  }

  private targetEnd(bytes: Buffer, start: number, end: number): number {
    let index = start
    if (this.lenient) {
      while (index < end && TARGET_LENIENT[bytes[index] as number] === 1) index++
      return index
    }
    while (index < end && TARGET_PATH[bytes[index] as number] === 1) index++
    if (bytes[index] === QUESTION) {
      while (index < end && TARGET_QUERY[bytes[index] as number] === 1) index++
    }
    return index
  }

  private parseVersion(bytes: Buffer, start: number, end: number, text: string, base: number): number {
    if (end - start >= 10) {
      if (text.startsWith(VERSION_11, start - base)) {
        this.oldVersion = false
        return start + 10
      }
      if (text.startsWith(VERSION_10, start - base)) {
        this.oldVersion = true
        return start + 10
      }
    }
    const lineEnd = text.indexOf('\r\n', start - base)
    if (lineEnd < 0 || lineEnd + base + 2 > end) return RAN_OUT
    const version = text.substring(start - base, lineEnd)
    if (bytes[start] === undefined || !WELL_FORMED_VERSION.test(version))
      return this.refuse('INVALID_VERSION')
    const isPreface = this.method === 'PRI' && this.target === '*' && version === 'HTTP/2.0'
    return this.refuse(isPreface ? 'HTTP2_PREFACE' : 'UNSUPPORTED_VERSION')
  }

  /** The forms of RFC 9112 §3.2 other than the origin form. */
  private isTargetForm(first: number): boolean {
    const target = this.target
    if (this.method === 'CONNECT') {
      const authority = parseHostPort(target)
      return authority !== undefined && authority.port > 0
    }
    if (first === ASTERISK) return this.method === 'OPTIONS' && target.length === 1
    return ABSOLUTE.test(target) && isHostPort(authorityOf(target))
  }

  /** RFC 9112 §3.2.2 and §3.2.3: the target names the authority, and `Host` must name the same. */
  private matchesHost(host: string | null, fields: string[] | FieldLines): boolean {
    const target = this.target
    if (target.charCodeAt(0) === ASTERISK || host === null) return true
    if (this.method === 'CONNECT') {
      if (sameAuthority(target, host, parseHostPort(target)?.port ?? -1)) return true
      if (Array.isArray(fields)) collapse(fields, 'host', target)
      return this.lenient
    }
    const authority = authorityOf(target)
    if (sameAuthority(authority, host, target.charCodeAt(4) === 0x3a ? 80 : 443)) return true
    if (Array.isArray(fields)) collapse(fields, 'host', authority)
    return this.lenient
  }
}

/** The authority of an absolute-form target: up to the path or the query. A backslash in it is refused. */
function authorityOf(target: string): string {
  const start = target.indexOf('://') + 3
  let end = start
  while (end < target.length) {
    const code = target.charCodeAt(end)
    if (code === SLASH || code === QUESTION) break
    end++
  }
  return target.slice(start, end)
}

/** The request line ended early, or a carriage return stands within it. */
function lineEndCode(next: number | undefined): HeadFailureCode {
  return next === LF ? 'INVALID_REQUEST_LINE' : 'BARE_CR'
}

function methodOf(text: string, start: number, end: number): string {
  if (end - start === 3 && text.startsWith('GET', start)) return 'GET'
  if (end - start === 4 && text.startsWith('POST', start)) return 'POST'
  return text.substring(start, end)
}
