import { httpDate, type RequestHeader, type ResponseHeader } from '@cirque/http'

/** How a message's head goes on an HTTP/2 stream. */
export interface Http2Fields<Value = string> {
  /** Flat, names in lower case, pseudo-fields first. */
  readonly fields: (string | Value)[]
  /** Trailers may follow: a body of unknown length, or an announcement of them. */
  readonly trailersExpected: boolean
}

/**
 * A final response's fields for HTTP/2. Framing comes from the arguments; fields of a connection are left out,
 * and `Date` is added (RFC 9110 §6.6.1).
 *
 * @param contentLength - The body's length, or -1 when it is not known.
 * @param bodyless - No body follows; a Content-Length then describes the one that would have been.
 */
export function responseFields(
  header: ResponseHeader,
  contentLength: number,
  bodyless: boolean,
): Http2Fields<number> {
  const fields: (string | number)[] = [':status', header.status]
  let dated = false
  let sized = false
  let trailersExpected = contentLength < 0
  const given = header.fields
  for (let i = 0; i < given.length; i += 2) {
    const name = (given[i] as string).toLowerCase()
    const value = given[i + 1] as string
    switch (name) {
      case 'content-length':
        if (sized || header.status === 204 || (contentLength < 0 && !bodyless)) continue
        sized = true
        fields.push(name, bodyless ? value : `${contentLength}`)
        continue
      case 'date':
        dated = true
        break
      case 'trailer':
        trailersExpected = contentLength !== 0
        break
      case 'content-type':
        // Its status comes last. Without a body it came with the head.
        if (contentLength !== 0 && value.startsWith('application/grpc')) trailersExpected = true
        break
      default:
        if (isConnectionField(name)) continue
    }
    fields.push(name, value)
  }
  if (!dated) fields.push('date', httpDate())
  if (!sized && !bodyless && contentLength >= 0) fields.push('content-length', `${contentLength}`)
  return { fields, trailersExpected }
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
): Http2Fields {
  const fields: string[] = [
    ':method',
    protocol === null ? header.method : 'CONNECT',
    ':scheme',
    scheme,
    ':authority',
    fallbackAuthority,
    ':path',
    header.target,
  ]
  if (protocol !== null) fields.push(':protocol', protocol)
  let hosted = false
  let sized = false
  let trailersExpected = contentLength < 0
  const given = header.fields
  for (let i = 0; i < given.length; i += 2) {
    const name = (given[i] as string).toLowerCase()
    const value = given[i + 1] as string
    switch (name) {
      case 'host':
        if (!hosted) fields[AUTHORITY_AT] = value
        hosted = true
        continue
      case 'content-length':
        if (sized || contentLength < 0) continue
        sized = true
        fields.push(name, `${contentLength}`)
        continue
      case 'te':
        // All that HTTP/2 knows of it (RFC 9113 §8.2.2).
        if (/(?:^|[,\s])trailers(?:$|[,;\s])/i.test(value)) fields.push(name, 'trailers')
        continue
      case 'trailer':
        trailersExpected = contentLength !== 0
        break
      default:
        if (isConnectionField(name)) continue
    }
    fields.push(name, value)
  }
  if (contentLength > 0 && !sized) fields.push('content-length', `${contentLength}`)
  return { fields, trailersExpected }
}

const AUTHORITY_AT = 5

/** A flat list as the record that `node:http2` wants where it takes no list: several values of a name as an array. */
export function fieldRecord(flat: readonly string[]): Record<string, string | string[]> {
  const record: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = (flat[i] as string).toLowerCase()
    const value = flat[i + 1] as string
    if (name.startsWith(':') || isConnectionField(name)) continue
    const known = record[name]
    if (known === undefined) record[name] = value
    else if (Array.isArray(known)) known.push(value)
    else record[name] = [known, value]
  }
  return record
}

/** Fields that HTTP/2 has no place for (RFC 9113 §8.2.2), in lower case. */
function isConnectionField(name: string): boolean {
  switch (name.length) {
    case 2:
      return name === 'te'
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
