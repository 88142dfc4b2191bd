import { bounded } from './bounded.ts'
import { FieldLines } from './field-lines.ts'
import { RAN_OUT, REFUSED, scanner } from './field-scanner.ts'
import { HEAD_END, lenientHeadEnd, strictHeadEnd } from './head-end.ts'
import { HeadFacts, type HttpProfile } from './head-facts.ts'
import type { HeadFailure, HeadFailureCode } from './head-failure.ts'
import { latin1 } from './latin1.ts'
import { unfold } from './lenient.ts'

/** All bytes were taken and the message part is not complete. */
export const NEED_MORE: number = -1
/** The bytes are refused; `failure` says why. */
export const HEAD_FAILED: number = -2

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

const HTAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SP = 0x20

/**
 * What the request and the response head parser share: taking bytes in any split, the limits, and the
 * memory of the last head. What the fields mean is for {@link HeadFacts} to say.
 *
 * A head that lies whole in one chunk is parsed where it lies. Any other is copied to a buffer of its own,
 * which lives until the head is complete: an idle parser holds none. A verdict on the content falls when
 * the head is complete, so it is the same for every split; what falls earlier depends on one position only:
 * a first byte that starts no message, a line feed without a carriage return, and the size limit.
 *
 * The strings of a header are parts of one string of the head, or of its chunk when that is below 2 KiB: who
 * keeps one keeps that.
 */
export abstract class HeadParser extends HeadFacts {
  /** Set when a head is refused and kept until `reset`. */
  failure: HeadFailure | null = null
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

  protected readonly headBytesMax: number
  protected readonly fieldsMax: number
  /** Empty lines before a request, in bytes: 0 to 4, odd between CR and LF. */
  protected leadingBytes: number = 0
  private pending: Buffer | null = null
  private pendingBytes: number = 0

  constructor(options: HeadParserOptions = {}) {
    super(options.profile ?? 'strict', options.connectionOptionsMax ?? 32)
    this.headBytesMax = bounded('headBytesMax', options.headBytesMax ?? 65_536, 32, HEAD_BYTES_CEILING)
    this.fieldsMax = bounded('fieldsMax', options.fieldsMax ?? 256, 1, FIELDS_CEILING)
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
    this.forgetFields()
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
}

function firstFieldCode(code: HeadFailureCode): HeadFailureCode {
  return code === 'OBSOLETE_FOLD' ? 'LEADING_SPACE' : code
}
