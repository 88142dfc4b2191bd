/**
 * Byte classes of RFC 9110 and RFC 9112, as tables of 256 zeros and ones.
 *
 * A table is read once per byte by the head parser; `bench/head.bench.ts` shows what that costs.
 */

function table(accept: (byte: number) => boolean): Uint8Array {
  const bytes = new Uint8Array(256)
  for (let byte = 0; byte < 256; byte++) bytes[byte] = accept(byte) ? 1 : 0
  return bytes
}

function oneOf(characters: string): (byte: number) => boolean {
  return (byte) => characters.includes(String.fromCharCode(byte))
}

const isAlphanumeric = oneOf('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789')
const isTokenMark = oneOf("!#$%&'*+-.^_`|~")
const isRegisteredNameMark = oneOf("-._~!$&'()*+;=")

/** `tchar` of RFC 9110 §5.6.2: method, field name, connection option. */
export const TOKEN: Uint8Array = table((byte) => isAlphanumeric(byte) || isTokenMark(byte))

/** What may stand in a field value, RFC 9110 §5.5: tab, space, visible ASCII, and 0x80 to 0xFF. */
export const FIELD_VALUE: Uint8Array = table(
  (byte) => byte === 0x09 || (byte >= 0x20 && byte <= 0x7e) || byte >= 0x80,
)

/** The path part of a strict target: visible ASCII without `?`, `#` and the backslash. */
export const TARGET_PATH: Uint8Array = table((byte) => byte > 0x20 && byte < 0x7f && !oneOf('?#\\')(byte))

/** The query part of a strict target: visible ASCII without `#`; browsers send a backslash here. */
export const TARGET_QUERY: Uint8Array = table((byte) => byte > 0x20 && byte < 0x7f && byte !== 0x23)

/** A lenient target: what strict takes, a backslash anywhere, and bytes from 0x80. */
export const TARGET_LENIENT: Uint8Array = table((byte) => byte > 0x20 && byte !== 0x7f && byte !== 0x23)

/** `reg-name` of RFC 3986 §3.2.2 without `%` and without the comma, by which joined Host fields show. */
export const HOST_NAME: Uint8Array = table((byte) => isAlphanumeric(byte) || isRegisteredNameMark(byte))

const NOT_FIELD_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const TOKEN_ONLY = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * True for a `token` of RFC 9110 §5.6.2, what a method or a field name must be.
 *
 * @param text - Any string; the empty one is no token.
 */
export function isToken(text: string): boolean {
  return TOKEN_ONLY.test(text)
}

/**
 * True when every code unit may stand in a field value (RFC 9110 §5.5): tab, space, visible ASCII, and
 * 0x80 to 0xFF, each of which goes out as one byte. Controls (CR, LF and NUL among them) and code units
 * above 0xFF may not.
 *
 * @param text - Any string; the empty one is a valid value.
 */
export function isFieldValue(text: string): boolean {
  return !NOT_FIELD_VALUE.test(text)
}

/** True when `a` and `b` are the same but for the case of ASCII letters. */
export function equalsIgnoreCase(a: string, b: string): boolean {
  const length = a.length
  if (length !== b.length) return false
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index)
    const right = b.charCodeAt(index)
    if (left === right) continue
    const lower = left | 0x20
    if (lower !== (right | 0x20) || lower < 0x61 || lower > 0x7a) return false
  }
  return true
}

/** `text` without the spaces and tabs at its ends: optional whitespace is not part of a value. */
export function trimOws(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isOws(text.charCodeAt(start))) start++
  while (end > start && isOws(text.charCodeAt(end - 1))) end--
  return start === 0 && end === text.length ? text : text.slice(start, end)
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09
}
