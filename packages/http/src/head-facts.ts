import { bounded } from './bounded.ts'
import { equalsIgnoreCase, trimOws } from './characters.ts'
import { collapse } from './collapse.ts'
import { isName, scanner } from './field-scanner.ts'
import type { HeadFailureCode } from './head-failure.ts'
import { connectionOptions, isForbiddenConnectionOption } from './hop-by-hop.ts'
import {
  TRAIT_DATE,
  TRAIT_EXPECT,
  TRAIT_HOP_BY_HOP,
  TRAIT_SCATTERED,
  TRAIT_TE,
  TRAIT_UPGRADE,
} from './traits.ts'

/** How strictly a head is read; see `docs/user-guide/http1-strictness.md`. */
export type HttpProfile = 'strict' | 'lenient'

const CONNECTION_OPTIONS_CEILING = 256

const TE = Buffer.from('te', 'latin1')
const DATE = Buffer.from('date', 'latin1')
const HOST = Buffer.from('host', 'latin1')
const EXPECT = Buffer.from('expect', 'latin1')
const UPGRADE = Buffer.from('upgrade', 'latin1')
const CONNECTION = Buffer.from('connection', 'latin1')
const KEEP_ALIVE = Buffer.from('keep-alive', 'latin1')
const CONTENT_LENGTH = Buffer.from('content-length', 'latin1')
const HTTP2_SETTINGS = Buffer.from('http2-settings', 'latin1')
const PROXY_CONNECTION = Buffer.from('proxy-connection', 'latin1')
const TRANSFER_ENCODING = Buffer.from('transfer-encoding', 'latin1')

/** Bits of what the fields of the current head hold. */
const SEEN_CLOSE = 1
const SEEN_KEEP_ALIVE = 2
const SEEN_UPGRADE_OPTION = 4
const SEEN_UPGRADE = 8

/**
 * What the fields of a head say about its framing and its connection, field by field, and which of it is refused
 * (RFC 9112 §6 and §9). Knows nothing of how the bytes come.
 */
export abstract class HeadFacts {
  /** The value of `Content-Length`, or -1. Like the facts below it is valid until the next `execute`. */
  contentLength: number = -1
  /** True for `Transfer-Encoding: chunked`. */
  chunked: boolean = false
  /** True when the connection may serve another message: version and `Connection` say so (RFC 9112 §9.3). */
  keepAlive: boolean = false
  /** True for HTTP/1.1 with an `Upgrade` field and `upgrade` listed in `Connection`. */
  upgrade: boolean = false
  /** True when there is a field that `removeHopByHop` would remove. */
  hopByHop: boolean = false
  protected readonly lenient: boolean
  protected readonly connectionOptionsMax: number
  /** Why the last `parse` refused. */
  protected code: HeadFailureCode = 'INVALID_FIELD_NAME'
  /** True for HTTP/1.0. */
  protected oldVersion: boolean = false
  protected traits: number = 0
  protected cutStart: number = -1
  protected cutEnd: number = -1
  private seen: number = 0
  private transferEncodings: number = 0
  private connectionOptions: number = 0
  private repeatedContentLength: boolean = false

  constructor(profile: HttpProfile, connectionOptionsMax: number) {
    if (profile !== 'strict' && profile !== 'lenient') {
      throw new TypeError(`Profile must be "strict" or "lenient", received ${JSON.stringify(profile)}`)
    }
    this.lenient = profile === 'lenient'
    this.connectionOptionsMax = bounded(
      'connectionOptionsMax',
      connectionOptionsMax,
      1,
      CONNECTION_OPTIONS_CEILING,
    )
  }

  /**
   * Takes a field whose name only one kind of message gives a meaning; false refuses the head. The scanner's
   * marks are still those of this field in `bytes`.
   */
  protected abstract takeSpecialField(bytes: Buffer, nameLength: number, value: string): boolean

  /** Before the fields of the next head. */
  protected forgetFields(): void {
    this.contentLength = -1
    this.chunked = false
    this.keepAlive = false
    this.upgrade = false
    this.hopByHop = false
    this.seen = 0
    this.transferEncodings = 0
    this.connectionOptions = 0
    this.repeatedContentLength = false
    this.traits = 0
    this.cutStart = -1
    this.cutEnd = -1
  }

  /** 1 for a hop-by-hop field, 0 for any other, -1 when the field refuses the head. */
  protected lineIsHopByHop(bytes: Buffer, start: number, length: number, text: string, base: number): number {
    const had = this.hopByHop
    this.hopByHop = false
    const taken = this.takeField(bytes, start, length, text, base)
    const is = this.hopByHop
    this.hopByHop = had || is
    return taken ? (is ? 1 : 0) : -1
  }

  /** Hop-by-hop lines that stand together are cut out in one piece. */
  protected markCut(start: number, end: number): void {
    this.traits |= TRAIT_HOP_BY_HOP
    if (this.cutStart < 0) this.cutStart = start
    else if (this.cutEnd !== start) this.traits |= TRAIT_SCATTERED
    this.cutEnd = end
  }

  /** Takes what a field says about framing and connection, told apart by length and then by name. */
  private takeField(bytes: Buffer, start: number, length: number, text: string, base: number): boolean {
    switch (length) {
      case 2:
        if (isName(bytes, start, TE)) {
          this.hopByHop = true
          this.traits |= TRAIT_TE
        }
        return true
      case 4:
        if (isName(bytes, start, DATE)) this.traits |= TRAIT_DATE
        else if (isName(bytes, start, HOST))
          return this.takeSpecialField(bytes, length, scannedValue(text, base))
        return true
      case 6:
        if (!isName(bytes, start, EXPECT)) return true
        this.traits |= TRAIT_EXPECT
        return this.takeSpecialField(bytes, length, scannedValue(text, base))
      case 7:
        if (isName(bytes, start, UPGRADE)) {
          this.hopByHop = true
          this.seen |= SEEN_UPGRADE
          this.traits |= TRAIT_UPGRADE
        }
        return true
      case 10:
        if (isName(bytes, start, CONNECTION)) return this.takeConnection(scannedValue(text, base))
        if (isName(bytes, start, KEEP_ALIVE)) {
          this.hopByHop = true
          return this.takeSpecialField(bytes, length, scannedValue(text, base))
        }
        return true
      case 14:
        if (isName(bytes, start, CONTENT_LENGTH)) return this.takeContentLength(scannedValue(text, base))
        if (isName(bytes, start, HTTP2_SETTINGS)) this.hopByHop = true
        return true
      case 16:
        if (isName(bytes, start, PROXY_CONNECTION)) this.hopByHop = true
        return true
      case 17:
        return isName(bytes, start, TRANSFER_ENCODING)
          ? this.takeTransferEncoding(scannedValue(text, base))
          : true
      default:
        return true
    }
  }

  private takeConnection(value: string): boolean {
    this.hopByHop = true
    // Repeated without end these two cost no more than any other field.
    if (equalsIgnoreCase(value, 'keep-alive')) {
      this.seen |= SEEN_KEEP_ALIVE
      return true
    }
    if (equalsIgnoreCase(value, 'close')) {
      this.seen |= SEEN_CLOSE
      return true
    }
    this.connectionOptions += memberCount(value)
    if (this.connectionOptions > this.connectionOptionsMax) {
      this.code = 'TOO_MANY_CONNECTION_OPTIONS'
      return false
    }
    // Its options may name fields that stand anywhere.
    this.traits |= TRAIT_SCATTERED
    for (const option of connectionOptions(value)) {
      if (equalsIgnoreCase(option, 'close')) this.seen |= SEEN_CLOSE
      else if (equalsIgnoreCase(option, 'keep-alive')) this.seen |= SEEN_KEEP_ALIVE
      else if (equalsIgnoreCase(option, 'upgrade')) this.seen |= SEEN_UPGRADE_OPTION
      else if (!this.lenient && isForbiddenConnectionOption(option)) {
        this.code = 'FORBIDDEN_CONNECTION_OPTION'
        return false
      }
    }
    return true
  }

  /** RFC 9112 §6.3: a list of equal values may be taken as one; only lenient does. */
  private takeContentLength(value: string): boolean {
    if (this.lenient && value.includes(',')) {
      this.repeatedContentLength = true
      for (const member of value.split(',')) {
        if (!this.takeOneContentLength(trimOws(member))) return false
      }
      return true
    }
    return this.takeOneContentLength(value)
  }

  private takeOneContentLength(value: string): boolean {
    const length = decimal(value)
    if (length < 0) {
      this.code = 'INVALID_CONTENT_LENGTH'
      return false
    }
    if (this.contentLength >= 0) {
      if (!this.lenient || this.contentLength !== length) {
        this.code = 'DUPLICATE_CONTENT_LENGTH'
        return false
      }
      this.repeatedContentLength = true
    }
    this.contentLength = length
    return true
  }

  private takeTransferEncoding(value: string): boolean {
    this.hopByHop = true
    this.chunked = equalsIgnoreCase(value, 'chunked')
    this.transferEncodings++
    if (this.transferEncodings > 1) this.code = 'DUPLICATE_TRANSFER_ENCODING'
    else if (!this.chunked) this.code = 'INVALID_TRANSFER_ENCODING'
    else return true
    return false
  }

  protected finishFraming(fields: string[] | null): boolean {
    if (this.transferEncodings > 0) {
      if (this.contentLength >= 0) this.code = 'CONTENT_LENGTH_WITH_TRANSFER_ENCODING'
      else if (this.oldVersion) this.code = 'TRANSFER_ENCODING_ON_HTTP_1_0'
      if (this.contentLength >= 0 || this.oldVersion) return false
    }
    const seen = this.seen
    if (this.oldVersion) {
      this.keepAlive = (seen & (SEEN_KEEP_ALIVE | SEEN_CLOSE)) === SEEN_KEEP_ALIVE
    } else {
      this.keepAlive = (seen & SEEN_CLOSE) === 0
      this.upgrade = (seen & SEEN_UPGRADE) !== 0 && (seen & SEEN_UPGRADE_OPTION) !== 0
    }
    if (this.repeatedContentLength && fields !== null)
      collapse(fields, 'content-length', String(this.contentLength))
    return true
  }
}

/** The value that the scanner has found last. */
function scannedValue(text: string, base: number): string {
  return text.substring(scanner.valueStart - base, scanner.valueEnd - base)
}

/** The number that `value` is in decimal digits, or -1: empty, signed, or above 2^53 - 1. */
function decimal(value: string): number {
  const length = value.length
  if (length === 0) return -1
  let number = 0
  for (let index = 0; index < length; index++) {
    const digit = value.charCodeAt(index) - 0x30
    if (digit < 0 || digit > 9) return -1
    number = number * 10 + digit
    if (number > Number.MAX_SAFE_INTEGER) return -1
  }
  return number
}

/** How many members a list has, the empty ones counted. */
function memberCount(value: string): number {
  let count = 1
  for (let comma = value.indexOf(','); comma >= 0; comma = value.indexOf(',', comma + 1)) count++
  return count
}
