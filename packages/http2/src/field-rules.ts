/** A field name: a token without upper case (RFC 9113 §8.2.1). */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** What no value may hold (RFC 9110 §5.5): controls but the tab, and what is no byte. */
const NOT_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const LENGTH = /^\d{1,15}$/

/** True for what may be a field's name in HTTP/2. */
export function isFieldName(name: string): boolean {
  return NAME.test(name)
}

/** True for what may be a field's value; RFC 9113 §8.2.1 also forbids white space at its ends. */
export function isFieldValue(value: string): boolean {
  if (NOT_VALUE.test(value)) return false
  const { length } = value
  if (length === 0) return true
  const first = value.charCodeAt(0)
  const last = value.charCodeAt(length - 1)
  return first !== 0x20 && first !== 0x09 && last !== 0x20 && last !== 0x09
}

/** The length that a `content-length` gives, or -1 for what is none. */
export function contentLengthOf(value: string): number {
  return LENGTH.test(value) ? Number(value) : -1
}

/** Fields of a connection, which have no place in HTTP/2 (RFC 9113 §8.2.2). `te` has one use. */
export function isConnectionField(name: string): boolean {
  switch (name.length) {
    case 7:
      return name === 'upgrade'
    case 10:
      return name === 'connection' || name === 'keep-alive'
    case 14:
      return name === 'http2-settings'
    case 16:
      return name === 'proxy-connection'
    case 17:
      return name === 'transfer-encoding'
    default:
      return false
  }
}
