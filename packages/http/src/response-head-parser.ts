import { FIELD_VALUE } from './characters.ts'
import type { FieldLines } from './field-lines.ts'
import { RAN_OUT } from './field-scanner.ts'
import { type HeadFailure, type HeadFailureCode, RESPONSE_FAILURES } from './head-failure.ts'
import { type HeadMemo, HeadParser, type HeadParserOptions, type OwnFacts } from './head-parser.ts'
import { ResponseHeader } from './response-header.ts'
import { canonicalReason } from './status.ts'

const CR = 0x0d
const LF = 0x0a
const SP = 0x20
const DIGIT_ZERO = 0x30
const LETTER_H = 0x48

const VERSION_11 = 'HTTP/1.1 '
const VERSION_10 = 'HTTP/1.0 '
const WELL_FORMED_VERSION = /^HTTP\/\d\.\d /
const KEEP_ALIVE_PARAMETER = /(?:^|,)[ \t]*(timeout|max)[ \t]*=[ \t]*(\d{1,9})[ \t]*(?=,|$)/gi

/** Reads response heads off a connection to an upstream (RFC 9112 §4 and §5), interim ones included. */
export class ResponseHeadParser extends HeadParser {
  /** The head that was completed last, until it is taken. */
  header: ResponseHeader | null = null
  /** `timeout` of the `Keep-Alive` field in milliseconds, or -1. */
  keepAliveTimeoutMs: number = -1
  /** `max` of the `Keep-Alive` field: how many more requests the connection takes, or -1. */
  keepAliveUses: number = -1

  private status: number = 0
  private reason: string = ''

  /** @throws {RangeError} If a limit is out of its bounds. @throws {TypeError} If the profile is unknown. */
  constructor(options: HeadParserOptions = {}) {
    super(options)
  }

  /**
   * Hands over the completed head; the parser keeps no reference.
   *
   * @throws {Error} If there is none: `execute` has not returned an offset since the last call.
   */
  takeHeader(): ResponseHeader {
    const header = this.header
    if (header === null) throw new Error('No response head is complete')
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
    this.keepAliveTimeoutMs = -1
    this.keepAliveUses = -1
    if (end - start < 14) return this.shortStatusLine(start, end, text, base)
    if (text.startsWith(VERSION_11, start - base)) this.oldVersion = false
    else if (text.startsWith(VERSION_10, start - base)) this.oldVersion = true
    else {
      const wellFormed = WELL_FORMED_VERSION.test(text.substring(start - base, start - base + 9))
      return this.refuse(wellFormed ? 'UNSUPPORTED_VERSION' : 'INVALID_STATUS_LINE')
    }
    let status = 0
    for (let index = start + 9; index < start + 12; index++) {
      const digit = (bytes[index] as number) - DIGIT_ZERO
      if (digit < 0 || digit > 9) return this.refuse('INVALID_STATUS_LINE')
      status = status * 10 + digit
    }
    if (status < 100 || status > 599) return this.refuse('INVALID_STATUS_LINE')
    // RFC 9110 §15.2: HTTP/1.0 has no interim responses, so that such a one may be read as the final one.
    if (status < 200 && this.oldVersion) return this.refuse('INVALID_STATUS_LINE')
    this.status = status
    let index = start + 12
    // "HTTP/1.1 200" without the space before an empty reason is common and has one meaning only.
    if (bytes[index] === SP) index++
    else if (bytes[index] !== CR) return this.refuse('INVALID_STATUS_LINE')
    const reasonStart = index
    while (index < end && FIELD_VALUE[bytes[index] as number] === 1) index++
    if (index + 1 >= end) return RAN_OUT
    if (bytes[index] !== CR || bytes[index + 1] !== LF) {
      return this.refuse(bytes[index] === CR ? 'BARE_CR' : 'INVALID_STATUS_LINE')
    }
    this.reason = reasonOf(status, text, reasonStart - base, index - base)
    return index + 2
  }

  protected override takeSpecialField(_bytes: Buffer, nameLength: number, value: string): boolean {
    if (nameLength !== 10) return true
    for (const match of value.matchAll(KEEP_ALIVE_PARAMETER)) {
      const number = Number(match[2])
      if ((match[1] as string).toLowerCase() === 'max') this.keepAliveUses = number
      else this.keepAliveTimeoutMs = number * 1000
    }
    return true
  }

  protected override finish(fields: string[] | FieldLines): boolean {
    this.header = new ResponseHeader(
      this.status,
      this.reason,
      this.oldVersion ? 'HTTP/1.0' : 'HTTP/1.1',
      fields,
    )
    this.reason = ''
    return true
  }

  protected override memoFits(): boolean {
    return true
  }

  protected override ownFacts(): OwnFacts {
    return { flag: false, first: this.keepAliveTimeoutMs, second: this.keepAliveUses }
  }

  protected override takeMemo(memo: HeadMemo): void {
    this.keepAliveTimeoutMs = memo.own.first
    this.keepAliveUses = memo.own.second
    const version = this.oldVersion ? 'HTTP/1.0' : 'HTTP/1.1'
    this.header = new ResponseHeader(this.status, this.reason, version, memo.lines)
    this.reason = ''
  }

  /** A status line is made of status and reason, which are few. */
  protected override keepStartLine(): void {}

  protected override canStart(byte: number): boolean {
    return byte === LETTER_H
  }

  protected override skipsEmptyLines(): boolean {
    return false
  }

  protected override dropHeader(): void {
    this.header = null
    this.reason = ''
  }

  protected override failureOf(code: HeadFailureCode): HeadFailure {
    return RESPONSE_FAILURES[code]
  }

  protected override oversizeCode(): HeadFailureCode {
    return 'HEAD_TOO_LARGE'
  }

  /** Less than "HTTP/1.1 200" and its CRLF: whole only when the line has ended, and then it is wrong. */
  private shortStatusLine(start: number, end: number, text: string, base: number): number {
    const lineEnd = text.indexOf('\r\n', start - base)
    return lineEnd < 0 || lineEnd + base + 2 > end ? RAN_OUT : this.refuse('INVALID_STATUS_LINE')
  }
}

/** The phrase between the marks; the registered one is not made anew. */
function reasonOf(status: number, text: string, start: number, end: number): string {
  const canonical = canonicalReason(status)
  if (end - start === canonical.length && text.startsWith(canonical, start)) return canonical
  return text.substring(start, end)
}
