import { RAN_OUT, REFUSED } from './field-scanner.ts'

const LF = 0x0a
const CR = 0x0d
/** The end of the last field's line, and the empty line. */
export const HEAD_END: Buffer = Buffer.from('\r\n\r\n', 'latin1')

/** Where the head in `bytes` ends, looking from `old` on; a bare LF before that is `REFUSED`. */
export function strictHeadEnd(bytes: Buffer, old: number, total: number): number {
  const at = bytes.subarray(0, total).indexOf(HEAD_END, Math.max(0, old - 3))
  const end = at < 0 ? total : at
  for (let lf = bytes.indexOf(LF, old); lf >= 0 && lf < end; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf === 0 || bytes[lf - 1] !== CR) return REFUSED
  }
  return at < 0 ? RAN_OUT : at + 4
}

/** As `strictHeadEnd` where a line may end with LF alone. */
export function lenientHeadEnd(bytes: Buffer, old: number, total: number): number {
  for (let lf = bytes.indexOf(LF, old); lf >= 0 && lf < total; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf >= 1 && bytes[lf - 1] === LF) return lf + 1
    if (lf >= 2 && bytes[lf - 1] === CR && bytes[lf - 2] === LF) return lf + 1
  }
  return RAN_OUT
}
