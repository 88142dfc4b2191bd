import {
  type FieldLines,
  type HeaderFields,
  httpDate,
  type RequestHeader,
  type ResponseHeader,
} from '@cirque/http'
import { isConnectionField } from '@cirque/http2'

/** A head's fields as HTTP/2 has them. */
interface PassedFields {
  /** Flat, in lower case, without those of a connection and without those that are named here. */
  readonly fields: string[]
  /** `date` is among them. */
  dated: boolean
  /** The first `content-length`, or null. */
  length: string | null
  /** The first `host`, or null. */
  host: string | null
}

/** Made once for all heads that repeat the same lines, which are shared and never changed. */
const passedLines: WeakMap<FieldLines, PassedFields> = new WeakMap()

function passedFields(header: HeaderFields): PassedFields {
  const { lines } = header
  if (lines === null) return passFields(header.fields)
  let passed = passedLines.get(lines)
  if (passed === undefined) {
    passed = passFields(header.fields)
    passedLines.set(lines, passed)
  }
  return passed
}

function passFields(given: readonly string[]): PassedFields {
  const fields: string[] = []
  const passed: PassedFields = { fields, dated: false, length: null, host: null }
  for (let i = 0; i < given.length; i += 2) {
    const name = (given[i] as string).toLowerCase()
    const value = given[i + 1] as string
    switch (name) {
      case 'content-length':
        passed.length ??= value
        continue
      case 'host':
        passed.host ??= value
        continue
      case 'date':
        passed.dated = true
        break
      case 'te':
        // All that HTTP/2 knows of it (RFC 9113 §8.2.2).
        if (/(?:^|[,\s])trailers(?:$|[,;\s])/i.test(value)) fields.push(name, 'trailers')
        continue
      default:
        if (isConnectionField(name)) continue
    }
    fields.push(name, value)
  }
  return passed
}

/**
 * A response's fields for HTTP/2. Framing comes from the arguments; fields of a connection are left out, and `Date`
 * is added (RFC 9110 §6.6.1).
 *
 * @param contentLength - The body's length, or -1 when it is not known.
 * @param bodyless - No body follows; a Content-Length then describes the one that would have been.
 */
export function responseFields(header: ResponseHeader, contentLength: number, bodyless: boolean): string[] {
  const { status } = header
  const { fields, dated, length } = passedFields(header)
  const all: string[] = [':status', `${status}`]
  for (let i = 0; i < fields.length; i++) all.push(fields[i] as string)
  if (!dated) all.push('date', httpDate())
  if (!bodyless) {
    if (contentLength >= 0) all.push('content-length', `${contentLength}`)
  } else if (length !== null && status !== 204) all.push('content-length', length)
  return all
}

/** An informational response's fields. */
export function informationalFields(header: ResponseHeader): string[] {
  return [':status', `${header.status}`, ...passedFields(header).fields]
}

/**
 * A request's fields for HTTP/2: `Host` becomes `:authority`.
 *
 * @param protocol - The `:protocol` of an extended CONNECT, or null.
 */
export function requestFields(
  header: RequestHeader,
  contentLength: number,
  scheme: 'http' | 'https',
  fallbackAuthority: string,
  protocol: string | null,
): string[] {
  const { fields, length, host } = passedFields(header)
  const all: string[] = [
    ':method',
    protocol === null ? header.method : 'CONNECT',
    ':scheme',
    scheme,
    ':authority',
    host ?? fallbackAuthority,
    ':path',
    header.target,
  ]
  if (protocol !== null) all.push(':protocol', protocol)
  for (let i = 0; i < fields.length; i++) all.push(fields[i] as string)
  if (contentLength > 0 || (contentLength === 0 && length !== null && protocol === null)) {
    all.push('content-length', `${contentLength}`)
  }
  return all
}

/** Trailers for HTTP/2; null for none. */
export function trailerFields(given: readonly string[] | null): string[] | null {
  if (given === null) return null
  const fields: string[] = []
  for (let i = 0; i + 1 < given.length; i += 2) {
    const name = (given[i] as string).toLowerCase()
    if (name !== '' && !name.startsWith(':') && name !== 'te' && !isConnectionField(name)) {
      fields.push(name, given[i + 1] as string)
    }
  }
  return fields.length === 0 ? null : fields
}
