import { isFieldValue } from './characters.ts'
import type { FieldLines } from './field-lines.ts'
import { type FieldsInit, fieldsFrom, HeaderFields, linesOf } from './header-fields.ts'
import type { HttpVersion } from './request-header.ts'
import { canonicalReason } from './status.ts'

/** A response head: status, reason, version and fields. */
export class ResponseHeader extends HeaderFields {
  /** 100 to 599. Set it with `setStatus`. */
  readonly status: number
  /** Maybe empty; means nothing to a program (RFC 9112 §4). Set it with `setStatus`. */
  readonly reason: string
  version: HttpVersion

  /**
   * Takes the parts as they are, unchecked; for parts that a parser has checked. Otherwise use `build`.
   *
   * @param fields - The flat array `[name, value, …]`, taken over, or lines that a parser has checked.
   */
  constructor(status: number, reason: string, version: HttpVersion, fields: string[] | FieldLines) {
    super(fields)
    this.status = status
    this.reason = reason
    this.version = version
  }

  /**
   * A checked response head of version `HTTP/1.1`.
   *
   * @param fields - Pairs or a record; none by default.
   * @param reason - The registered phrase of `status` by default.
   * @throws {RangeError} If `status` is no integer from 100 to 599.
   * @throws {TypeError} If the reason holds a control character, or a field is refused by `appendHeader`.
   */
  static build(status: number, fields?: FieldsInit, reason?: string): ResponseHeader {
    const checked = checkedStatus(status)
    return new ResponseHeader(checked, checkedReason(checked, reason), 'HTTP/1.1', fieldsFrom(fields))
  }

  /**
   * Sets status and reason together, so that one never belies the other.
   *
   * @param reason - The registered phrase of `status` by default.
   * @throws {RangeError} If `status` is no integer from 100 to 599.
   * @throws {TypeError} If `reason` holds a control character or a code unit above 255.
   */
  setStatus(status: number, reason?: string): void {
    const checked = checkedStatus(status)
    const phrase = checkedReason(checked, reason)
    ;(this as { status: number }).status = checked
    ;(this as { reason: string }).reason = phrase
  }

  /**
   * Sets `Content-Length` to `bytes` and removes `Transfer-Encoding`: the two never stand together.
   *
   * @throws {RangeError} If `bytes` is no safe integer from 0.
   */
  setContentLength(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new RangeError(`Content length must be an integer from 0, received ${bytes}`)
    }
    this.removeHeader('Transfer-Encoding')
    this.insertHeader('Content-Length', bytes)
  }

  /** A copy that shares nothing. */
  clone(): ResponseHeader {
    const copy = new ResponseHeader(this.status, this.reason, this.version, this.copyFields())
    copy.neverIndexed = this.neverIndexed
    return copy
  }

  /**
   * The head as it goes on the wire, with the empty line: write it with the `latin1` encoding. The version
   * is `HTTP/1.0` if that is what it says and `HTTP/1.1` otherwise.
   */
  toWire(): string {
    const version = this.version === 'HTTP/1.0' ? 'HTTP/1.0 ' : 'HTTP/1.1 '
    return `${version}${this.status} ${this.reason}\r\n${linesOf(this)}\r\n`
  }
}

function checkedStatus(status: number): number {
  if (!Number.isInteger(status) || status < 100 || status > 599) {
    throw new RangeError(`Status must be an integer from 100 to 599, received ${String(status)}`)
  }
  return status
}

function checkedReason(status: number, reason: string | undefined): string {
  if (reason === undefined) return canonicalReason(status)
  if (typeof reason !== 'string' || !isFieldValue(reason)) {
    throw new TypeError('Reason must be a string without control characters and code units above 255')
  }
  return reason
}
