import { FIELD_VALUE, TOKEN } from './characters.ts'
import type { HeadFailureCode } from './head-failure.ts'

const HTAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SP = 0x20
const COLON = 0x3a

/** The bytes ended within the line. */
export const RAN_OUT = -1
/** The line is refused; `code` says why. */
export const REFUSED = -2

/**
 * Finds name and value of one field line. The marks are fields and not a returned object: one scanner
 * serves all parsers of a thread, which run to the end before the next one starts.
 */
export class FieldScanner {
  nameEnd: number = 0
  valueStart: number = 0
  valueEnd: number = 0
  code: HeadFailureCode = 'INVALID_FIELD_NAME'

  /**
   * Scans the line at `start`.
   *
   * @returns Offset after its CRLF, `RAN_OUT` or `REFUSED`.
   */
  scan(bytes: Uint8Array, start: number, end: number): number {
    let index = start
    while (index < end && TOKEN[bytes[index] as number] === 1) index++
    if (index === end) return RAN_OUT
    if (bytes[index] !== COLON || index === start) return this.refuseName(bytes, start, index, end)
    this.nameEnd = index
    index++
    while (index < end && (bytes[index] === SP || bytes[index] === HTAB)) index++
    this.valueStart = index
    while (index < end && FIELD_VALUE[bytes[index] as number] === 1) index++
    if (index + 1 >= end) return RAN_OUT
    if (bytes[index] !== CR || bytes[index + 1] !== LF) {
      this.code = bytes[index] === CR ? 'BARE_CR' : bytes[index] === LF ? 'BARE_LF' : 'INVALID_FIELD_VALUE'
      return REFUSED
    }
    let valueEnd = index
    while (valueEnd > this.valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB))
      valueEnd--
    this.valueEnd = valueEnd
    return index + 2
  }

  private refuseName(bytes: Uint8Array, start: number, index: number, end: number): number {
    const first = bytes[index]
    this.code = 'INVALID_FIELD_NAME'
    if (first === SP || first === HTAB) {
      if (index === start) {
        this.code = 'OBSOLETE_FOLD'
      } else {
        let after = index
        while (after < end && (bytes[after] === SP || bytes[after] === HTAB)) after++
        if (bytes[after] === COLON) this.code = 'SPACE_BEFORE_COLON'
      }
    } else if (first === LF) {
      this.code = 'BARE_LF'
    } else if (first === CR && bytes[index + 1] !== LF) {
      this.code = 'BARE_CR'
    }
    return REFUSED
  }
}

/** The scanner of this thread. */
export const scanner: FieldScanner = new FieldScanner()

/** True when the name at `start` is `lower` in any case; its length is already known to be the same. */
export function isName(bytes: Uint8Array, start: number, lower: Uint8Array): boolean {
  for (let index = 0; index < lower.length; index++) {
    if (((bytes[start + index] as number) | 0x20) !== lower[index]) return false
  }
  return true
}
