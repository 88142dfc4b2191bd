import { isToken } from './characters.ts'
import type { FieldLines } from './field-lines.ts'
import { type FieldsInit, fieldsFrom, HeaderFields, linesOf } from './header-fields.ts'

/** The version of a message as its sender named it. `HTTP/2` heads have no wire form of their own here. */
export type HttpVersion = 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2'

/** What may stand in a target that we send: no control, space or `#`; code units above 255 never. */
const TARGET = /^[\x21\x22\x24-\x7e\x80-\xff]+$/

/**
 * A request head: method, target, version and fields.
 *
 * `method` and `target` are checked when set; the parser hands over what it has checked itself. Nothing
 * else is kept: whatever `Content-Length` or `Connection` mean is read from the fields when asked.
 */
export class RequestHeader extends HeaderFields {
  /** Case counts: `GET` is not `get`. Set it with `setMethod`. */
  readonly method: string
  /** Exactly as sent, never decoded; one code unit is one byte. Set it with `setTarget`. */
  readonly target: string
  version: HttpVersion
  /** The HTTP/1.1 start line as it was received, with its CRLF, while method and target stand; else null. For writers. */
  startLine: string | null = null

  /**
   * Takes the parts as they are, unchecked; for parts that a parser has checked. Otherwise use `build`.
   *
   * @param fields - The flat array `[name, value, …]`, taken over, or lines that a parser has checked.
   */
  constructor(method: string, target: string, version: HttpVersion, fields: string[] | FieldLines) {
    super(fields)
    this.method = method
    this.target = target
    this.version = version
  }

  /**
   * A checked request head.
   *
   * @param fields - Pairs or a record; none by default.
   * @param version - `HTTP/1.1` by default.
   * @throws {TypeError} If the method is no token, the target is empty or holds a control character, a
   * space or `#`, or a field is refused by `appendHeader`.
   */
  static build(
    method: string,
    target: string,
    fields?: FieldsInit,
    version: HttpVersion = 'HTTP/1.1',
  ): RequestHeader {
    return new RequestHeader(checkedMethod(method), checkedTarget(target), version, fieldsFrom(fields))
  }

  /** @throws {TypeError} If `method` is no token. */
  setMethod(method: string): void {
    ;(this as { method: string }).method = checkedMethod(method)
    this.startLine = null
  }

  /** @throws {TypeError} If `target` is empty or holds a control character, a space, `#` or a code unit above 255. */
  setTarget(target: string): void {
    ;(this as { target: string }).target = checkedTarget(target)
    this.startLine = null
  }

  /**
   * The path: the target up to `?`, never decoded. Of an absolute-form target (`http://a/b?c`) it is what
   * follows the authority, `/` when that is nothing; of `*` and of a CONNECT target it is the target.
   */
  get path(): string {
    const target = this.target
    const question = target.indexOf('?')
    const end = question < 0 ? target.length : question
    const authority = authorityStart(target)
    if (authority < 0) return question < 0 ? target : target.slice(0, end)
    const slash = target.indexOf('/', authority)
    return slash < 0 || slash >= end ? '/' : target.slice(slash, end)
  }

  /** What follows the first `?`, never decoded and maybe empty; `undefined` without one. */
  get query(): string | undefined {
    const question = this.target.indexOf('?')
    return question < 0 ? undefined : this.target.slice(question + 1)
  }

  /**
   * Whom the request is for: the value of the `Host` field, where an HTTP/2 `:authority` is kept too. Without one, as
   * HTTP/1.0 allows, the authority of an absolute-form target (`http://a/b`), which counts then (RFC 9112 §3.2.2).
   */
  get host(): string | undefined {
    return this.get('Host') ?? authorityOf(this.target)
  }

  /** A copy that shares nothing. */
  clone(): RequestHeader {
    const copy = new RequestHeader(this.method, this.target, this.version, this.copyFields())
    copy.startLine = this.startLine
    copy.neverIndexed = this.neverIndexed
    return copy
  }

  /**
   * The head as it goes on the wire, with the empty line: write it with the `latin1` encoding. The version
   * is `HTTP/1.0` if that is what it says and `HTTP/1.1` otherwise.
   */
  toWire(): string {
    const version = this.version === 'HTTP/1.0' ? ' HTTP/1.0\r\n' : ' HTTP/1.1\r\n'
    return `${this.method} ${this.target}${version}${linesOf(this)}\r\n`
  }
}

/** Where the authority of an absolute-form target starts, or -1 for the other forms. */
function authorityStart(target: string): number {
  const first = target.charCodeAt(0)
  if (first === 0x2f || first === 0x2a) return -1
  const colon = target.indexOf('://')
  if (colon < 1) return -1
  const question = target.indexOf('?')
  return question >= 0 && question < colon ? -1 : colon + 3
}

function checkedMethod(method: string): string {
  if (typeof method !== 'string' || !isToken(method)) {
    throw new TypeError(`Method must be a token, received ${JSON.stringify(String(method).slice(0, 64))}`)
  }
  return method
}

function checkedTarget(target: string): string {
  if (typeof target !== 'string' || !TARGET.test(target)) {
    throw new TypeError('Target must be a string of one or more characters without controls, spaces and "#"')
  }
  return target
}

/** Of an absolute-form target; undefined for others. */
function authorityOf(target: string): string | undefined {
  const start = authorityStart(target)
  if (start < 0) return undefined
  const end = target.slice(start).search(/[/?]/)
  return end < 0 ? target.slice(start) : target.slice(start, start + end)
}
