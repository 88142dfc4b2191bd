import { equalsIgnoreCase, trimOws } from './characters.ts'
import { FieldLines } from './field-lines.ts'
import { isName, RAN_OUT, REFUSED, scanner } from './field-scanner.ts'
import type { HeadFailure, HeadFailureCode } from './head-failure.ts'
import { connectionOptions, isForbiddenConnectionOption } from './hop-by-hop.ts'
import { latin1 } from './latin1.ts'
import { unfold } from './lenient.ts'
import {
  TRAIT_DATE,
  TRAIT_EXPECT,
  TRAIT_HOP_BY_HOP,
  TRAIT_SCATTERED,
  TRAIT_TE,
  TRAIT_UPGRADE,
} from './traits.ts'

/** All bytes were taken and the message part is not complete. */
export const NEED_MORE: number = -1
/** The bytes are refused; `failure` says why. */
export const HEAD_FAILED: number = -2

/** How strictly a head is read; see `docs/user-guide/http1-strictness.md`. */
export type HttpProfile = 'strict' | 'lenient'

/** Bounds of one head. */
export interface HeadLimits {
  /** Bytes from the first to the empty line's end. Default 65,536; at most 1 MiB. Beyond it 431. */
  readonly headBytesMax?: number
  /** Fields. Default 256; at most 4,096. Beyond it 431. */
  readonly fieldsMax?: number
  /** Bytes of the request target. Default 8,192; at most 1 MiB. Beyond it 414. Responses have none. */
  readonly targetBytesMax?: number
  /**
   * Members of all `Connection` lists together, empty ones too. Default 32; at most 256. Beyond it 431.
   * Each is compared with each field by `removeHopByHop`, so this bounds what a head may cost.
   */
  readonly connectionOptionsMax?: number
}

/** What a head parser takes. */
export interface HeadParserOptions extends HeadLimits {
  /** Default `strict`. */
  readonly profile?: HttpProfile
}

/** The facts that only one kind of message has; see the parsers' own fields. */
export interface OwnFacts {
  readonly flag: boolean
  readonly first: number
  readonly second: number
}

/** What the field lines of a head meant. Opaque to everyone but the parsers. */
export interface HeadMemo {
  readonly lines: FieldLines
  readonly oldVersion: boolean
  readonly chunked: boolean
  readonly keepAlive: boolean
  readonly upgrade: boolean
  readonly hopByHop: boolean
  readonly own: OwnFacts
}

/** Up to this size a chunk is made one string before its head's end is known, which saves a search. */
const WHOLE_CHUNK_BYTES_MAX = 2048
const HEAD_BYTES_CEILING = 1_048_576
const FIELDS_CEILING = 4096
const CONNECTION_OPTIONS_CEILING = 256

const HTAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SP = 0x20
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1')

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
 * What the request and the response head parser share: taking bytes in any split, the limits, the fields
 * and the framing facts.
 *
 * A head that lies whole in one chunk is parsed where it lies. Any other is copied to a buffer of its own,
 * which lives until the head is complete: an idle parser holds none. A verdict on the content falls when
 * the head is complete, so it is the same for every split; what falls earlier depends on one position only:
 * a first byte that starts no message, a line feed without a carriage return, and the size limit.
 *
 * The strings of a header are parts of one string of the head, or of its chunk when that is below 2 KiB: who
 * keeps one keeps that.
 */
export abstract class HeadParser {
  /** Set when a head is refused and kept until `reset`. */
  failure: HeadFailure | null = null
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
  /**
   * True while bytes have been taken, an empty line before a request among them, and the head is not complete:
   * the header timeout runs. While it is false the parser holds nothing and may serve another connection.
   */
  started: boolean = false

  /**
   * What the last head's field lines meant, or null. The messages of a connection tend to repeat them to the
   * byte; then only the start line is parsed. Who shares a parser between connections keeps the memo of each
   * and sets it before `execute`. Strict only; the lines decide alone, so that a memo can never be wrong.
   */
  memo: HeadMemo | null = null

  protected readonly lenient: boolean
  protected readonly headBytesMax: number
  protected readonly fieldsMax: number
  protected readonly connectionOptionsMax: number
  /** Why the last `parse` refused. */
  protected code: HeadFailureCode = 'INVALID_FIELD_NAME'
  /** True for HTTP/1.0. */
  protected oldVersion: boolean = false
  /** Empty lines before a request, in bytes: 0 to 4, odd between CR and LF. */
  protected leadingBytes: number = 0
  private traits: number = 0
  private cutStart: number = -1
  private cutEnd: number = -1
  private seen: number = 0
  private transferEncodings: number = 0
  private connectionOptions: number = 0
  private repeatedContentLength: boolean = false
  private pending: Buffer | null = null
  private pendingBytes: number = 0

  constructor(options: HeadParserOptions = {}) {
    const profile = options.profile ?? 'strict'
    if (profile !== 'strict' && profile !== 'lenient') {
      throw new TypeError(`Profile must be "strict" or "lenient", received ${JSON.stringify(profile)}`)
    }
    this.lenient = profile === 'lenient'
    this.headBytesMax = bounded('headBytesMax', options.headBytesMax ?? 65_536, 32, HEAD_BYTES_CEILING)
    this.fieldsMax = bounded('fieldsMax', options.fieldsMax ?? 256, 1, FIELDS_CEILING)
    const connectionOptionsMax = options.connectionOptionsMax ?? 32
    this.connectionOptionsMax = bounded(
      'connectionOptionsMax',
      connectionOptionsMax,
      1,
      CONNECTION_OPTIONS_CEILING,
    )
  }

  /**
   * Feeds the bytes from `start` to `end`.
   *
   * @returns The offset after the head when it is complete, else `NEED_MORE` with all bytes taken, or
   * `HEAD_FAILED`, which it then keeps saying until `reset`.
   */
  execute(chunk: Buffer, start: number, end: number): number {
    if (this.failure !== null) return HEAD_FAILED
    if (start >= end) return NEED_MORE
    if (this.pending !== null) return this.takePending(chunk, start, end)
    this.started = true
    let from = start
    if (this.leadingBytes !== 0 || chunk[from] === CR || chunk[from] === LF) {
      from = this.skipEmptyLines(chunk, start, end)
      if (from < 0) return from
    }
    const after = this.parseInPlace(chunk, from, end)
    return after >= 0 ? after : this.takePending(chunk, from, end)
  }

  /** Forgets the current head and a failure: the next byte starts a new head. */
  reset(): void {
    this.failure = null
    this.clear()
    this.dropHeader()
  }

  /** Parses the start line at `start`; gives the offset after it, or `RAN_OUT` or `REFUSED`. */
  protected abstract parseStartLine(
    bytes: Buffer,
    start: number,
    end: number,
    text: string,
    base: number,
  ): number
  /** True when `byte` can begin a start line. */
  protected abstract canStart(byte: number): boolean
  /** True when empty lines before the start line are skipped. */
  protected abstract skipsEmptyLines(): boolean
  /**
   * Takes a field whose name only one kind of message gives a meaning; false refuses the head. The scanner's
   * marks are still those of this field in `bytes`.
   */
  protected abstract takeSpecialField(bytes: Buffer, nameLength: number, value: string): boolean
  /** Checks the whole and makes the header; false refuses the head. */
  protected abstract finish(fields: string[] | FieldLines): boolean
  /** Hands the header its start line, where it can be passed on as it is. */
  protected abstract keepStartLine(text: string, start: number, end: number): void
  /** True when the start line leaves the fields their meaning: nothing of it has to be compared with them. */
  protected abstract memoFits(): boolean
  /** What only one kind of message learns from its fields. */
  protected abstract ownFacts(): OwnFacts
  /** Takes `ownFacts` over and makes the header. */
  protected abstract takeMemo(memo: HeadMemo): void
  protected abstract dropHeader(): void
  protected abstract failureOf(code: HeadFailureCode): HeadFailure
  /** What the size limit means for the bytes held: they are what came before it. */
  protected abstract oversizeCode(text: string): HeadFailureCode

  protected refuse(code: HeadFailureCode): number {
    this.code = code
    return REFUSED
  }

  private clear(): void {
    this.started = false
    this.leadingBytes = 0
    this.pending = null
    this.pendingBytes = 0
  }

  private fail(code: HeadFailureCode): number {
    this.failure = this.failureOf(code)
    this.clear()
    this.dropHeader()
    return HEAD_FAILED
  }

  /** The common case. Any doubt is left to `takePending`, which decides. */
  private parseInPlace(chunk: Buffer, start: number, end: number): number {
    let limit = Math.min(end, start + this.headBytesMax - this.leadingBytes)
    let textEnd = end
    if (end - start > WHOLE_CHUNK_BYTES_MAX) {
      const at = chunk.indexOf(HEAD_END, start)
      if (at < 0 || at + 4 > limit) return REFUSED
      limit = at + 4
      textEnd = limit
    }
    const after = this.parse(chunk, start, limit, latin1(chunk, start, textEnd), start)
    if (after >= 0) this.clear()
    return after
  }

  private takePending(chunk: Buffer, start: number, end: number): number {
    const limit = this.headBytesMax - this.leadingBytes
    const old = this.pendingBytes
    if (old === 0 && !this.canStart(chunk[start] as number)) {
      return this.fail(this.skipsEmptyLines() ? 'INVALID_METHOD' : 'INVALID_STATUS_LINE')
    }
    const taken = Math.min(end - start, limit - old)
    const bytes = this.reserve(old + taken)
    chunk.copy(bytes, old, start, start + taken)
    const total = old + taken
    this.pendingBytes = total
    const headEnd = this.lenient ? lenientHeadEnd(bytes, old, total) : strictHeadEnd(bytes, old, total)
    if (headEnd === REFUSED) return this.fail('BARE_LF')
    if (headEnd === RAN_OUT) {
      if (total < limit) return NEED_MORE
      return this.fail(this.oversizeCode(latin1(bytes, 0, total)))
    }
    let head = bytes
    let size = headEnd
    if (this.lenient) {
      const unfolded = unfold(latin1(bytes, 0, headEnd), !this.skipsEmptyLines())
      head = Buffer.from(unfolded, 'latin1')
      size = head.length
    }
    const after = this.parse(head, 0, size, latin1(head, 0, size), 0)
    if (after !== size) return this.fail(after === REFUSED ? this.code : 'INVALID_FIELD_NAME')
    this.clear()
    return start + headEnd - old
  }

  /** The buffer for a head in pieces, with room for `size` bytes; doubled, so copying stays linear. */
  private reserve(size: number): Buffer {
    const held = this.pending
    if (held !== null && held.length >= size) return held
    const room = Math.min(this.headBytesMax, Math.max(size, held === null ? 512 : held.length * 2))
    const grown = Buffer.allocUnsafeSlow(room)
    if (held !== null) held.copy(grown, 0, 0, this.pendingBytes)
    this.pending = grown
    return grown
  }

  /** RFC 9112 §2.2: an empty line before a request is skipped; here two at most. */
  private skipEmptyLines(chunk: Buffer, start: number, end: number): number {
    let index = start
    while (index < end) {
      const byte = chunk[index] as number
      const afterCr = (this.leadingBytes & 1) === 1
      if (!this.skipsEmptyLines()) return this.fail('INVALID_STATUS_LINE')
      if (afterCr) {
        if (byte !== LF) return this.fail('BARE_CR')
        this.leadingBytes++
      } else if (this.leadingBytes < 4 && byte === CR) {
        this.leadingBytes++
      } else if (this.leadingBytes < 4 && byte === LF) {
        if (!this.lenient) return this.fail('BARE_LF')
        this.leadingBytes += 2
      } else {
        return index
      }
      index++
    }
    return NEED_MORE
  }

  private parse(bytes: Buffer, start: number, end: number, text: string, base: number): number {
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
    let index = this.parseStartLine(bytes, start, end, text, base)
    if (index < 0) return index
    if (this.memo !== null && this.recalls(this.memo, index, end, text, base)) {
      this.recall(this.memo)
      this.keepStartLine(text, start - base, index - base)
      return index + this.memo.lines.block.length + 2
    }
    const first = index
    let room = this.fieldsMax
    for (;;) {
      if (index + 1 >= end) return RAN_OUT
      if (bytes[index] === CR) {
        if (bytes[index + 1] !== LF) return this.refuse('BARE_CR')
        break
      }
      const next = scanner.scan(bytes, index, end)
      if (next < 0) {
        if (next === REFUSED) this.code = index === first ? firstFieldCode(scanner.code) : scanner.code
        return next
      }
      // Before the value is judged, of which this is the first part only.
      if (next < end && (bytes[next] === SP || bytes[next] === HTAB)) return this.refuse('OBSOLETE_FOLD')
      if (room-- === 0) return this.refuse('TOO_MANY_FIELDS')
      const length = scanner.nameEnd - index
      if (length <= 17) {
        const wasHopByHop = this.lineIsHopByHop(bytes, index, length, text, base)
        if (wasHopByHop < 0) return REFUSED
        if (wasHopByHop > 0) this.markCut(index - first, next - first)
      }
      index = next
    }
    const lines = new FieldLines(
      text.substring(first - base, index - base),
      this.traits,
      this.contentLength,
      this.cutStart,
      this.cutEnd,
    )
    // Only lenient edits what it received, and so it takes it apart.
    const fields = this.lenient ? lines.fields.slice() : null
    if (!this.finishFraming(fields) || !this.finish(fields ?? lines)) return REFUSED
    if (fields === null) this.memo = this.remember(lines)
    this.keepStartLine(text, start - base, first - base)
    return index + 2
  }

  /** True when the same field lines follow that the memo is of, and the end of the head. */
  private recalls(memo: HeadMemo, index: number, end: number, text: string, base: number): boolean {
    const { block } = memo.lines
    const after = index + block.length
    return (
      memo.oldVersion === this.oldVersion &&
      after + 2 <= end &&
      text.substring(index - base, after - base) === block &&
      this.bytesEndHead(text, after - base) &&
      this.memoFits()
    )
  }

  private bytesEndHead(text: string, at: number): boolean {
    return text.charCodeAt(at) === CR && text.charCodeAt(at + 1) === LF
  }

  /** Takes the facts over that the same lines gave before. */
  private recall(memo: HeadMemo): void {
    this.contentLength = memo.lines.contentLength
    this.chunked = memo.chunked
    this.keepAlive = memo.keepAlive
    this.upgrade = memo.upgrade
    this.hopByHop = memo.hopByHop
    this.takeMemo(memo)
  }

  private remember(lines: FieldLines): HeadMemo {
    return {
      lines,
      oldVersion: this.oldVersion,
      chunked: this.chunked,
      keepAlive: this.keepAlive,
      upgrade: this.upgrade,
      hopByHop: this.hopByHop,
      own: this.ownFacts(),
    }
  }

  /** 1 for a hop-by-hop field, 0 for any other, -1 when the field refuses the head. */
  private lineIsHopByHop(bytes: Buffer, start: number, length: number, text: string, base: number): number {
    const had = this.hopByHop
    this.hopByHop = false
    const taken = this.takeField(bytes, start, length, text, base)
    const is = this.hopByHop
    this.hopByHop = had || is
    return taken ? (is ? 1 : 0) : -1
  }

  /** Hop-by-hop lines that stand together are cut out in one piece. */
  private markCut(start: number, end: number): void {
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

  private finishFraming(fields: string[] | null): boolean {
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

/** Makes `value` the only one of `name`, in the place and the spelling of the first field. */
export function collapse(fields: string[], name: string, value: string): void {
  let kept = 0
  let found = false
  for (let index = 0; index < fields.length; index += 2) {
    const candidate = fields[index] as string
    const same = equalsIgnoreCase(candidate, name)
    if (same && found) continue
    found ||= same
    fields[kept] = candidate
    fields[kept + 1] = same ? value : (fields[index + 1] as string)
    kept += 2
  }
  fields.length = kept
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

/** An integer option within its bounds, or a `RangeError`. */
export function bounded(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, received ${String(value)}`)
  }
  return value
}

function firstFieldCode(code: HeadFailureCode): HeadFailureCode {
  return code === 'OBSOLETE_FOLD' ? 'LEADING_SPACE' : code
}

/** How many members a list has, the empty ones counted. */
function memberCount(value: string): number {
  let count = 1
  for (let comma = value.indexOf(','); comma >= 0; comma = value.indexOf(',', comma + 1)) count++
  return count
}

/** Where the head in `bytes` ends, looking from `old` on; a bare LF before that is `REFUSED`. */
function strictHeadEnd(bytes: Buffer, old: number, total: number): number {
  const at = bytes.subarray(0, total).indexOf(HEAD_END, Math.max(0, old - 3))
  const end = at < 0 ? total : at
  for (let lf = bytes.indexOf(LF, old); lf >= 0 && lf < end; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf === 0 || bytes[lf - 1] !== CR) return REFUSED
  }
  return at < 0 ? RAN_OUT : at + 4
}

/** As `strictHeadEnd` where a line may end with LF alone. */
function lenientHeadEnd(bytes: Buffer, old: number, total: number): number {
  for (let lf = bytes.indexOf(LF, old); lf >= 0 && lf < total; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf >= 1 && bytes[lf - 1] === LF) return lf + 1
    if (lf >= 2 && bytes[lf - 1] === CR && bytes[lf - 2] === LF) return lf + 1
  }
  return RAN_OUT
}
