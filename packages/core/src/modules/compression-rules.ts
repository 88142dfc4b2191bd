import type { HeaderFields, RequestHeader, ResponseHeader } from '@cirque/http'

/** A shorter body is not worth a coding: what it says of itself would take more than it saves. */
export const COMPRESSION_BYTES_MIN = 20

const COMPRESSIBLE_TYPE =
  /^(?:text\/|application\/|font\/|image\/(?:x-icon|svg\+xml|vnd\.microsoft\.icon|bmp)$|binary\/octet-stream$|multipart\/x-mixed-replace$)/
/** Compressed already, or framed so that a coding of the whole would break it (gRPC codes its messages by itself). */
const COMPRESSED_TYPE =
  /zip|^application\/(?:grpc|x-7z-compressed|x-rar-compressed|vnd\.rar|x-xz|zstd)|^font\/woff/
const STREAM_TYPE =
  /^(?:text\/event-stream|application\/(?:x-ndjson|ndjson|jsonl|json-seq|stream\+json)|multipart\/x-mixed-replace)$/

/** The media type of a message in lower case, without parameters; `''` for none. */
export function mediaType(header: HeaderFields): string {
  const value = header.get('content-type') ?? ''
  const semicolon = value.indexOf(';')
  return (semicolon < 0 ? value : value.slice(0, semicolon)).trim().toLowerCase()
}

/** True for a type that is text of some kind and not compressed already. */
export function isCompressibleType(type: string): boolean {
  return COMPRESSIBLE_TYPE.test(type) && !COMPRESSED_TYPE.test(type)
}

/** True for a type whose readers wait for each piece, such as server-sent events. */
export function isStreamType(type: string): boolean {
  return STREAM_TYPE.test(type)
}

/**
 * True when a response's content may be sent in another coding: a whole one, that nobody has forbidden to
 * change and that carries no digest of its bytes.
 */
export function mayChangeCoding(request: RequestHeader, response: ResponseHeader): boolean {
  if (response.status === 206 || response.has('content-range')) return false
  if (forbidsTransform(request) || forbidsTransform(response)) return false
  // RFC 9530 §2 and §3: these digests are of the content as it is coded.
  return !(
    response.has('content-digest') ||
    response.has('repr-digest') ||
    response.has('digest') ||
    response.has('content-md5')
  )
}

/** `no-transform`, which either side may ask for (RFC 9110 §7.7, RFC 9111 §5.2). */
function forbidsTransform(header: HeaderFields): boolean {
  const cacheControl = header.getCombined('cache-control')
  return cacheControl !== undefined && /(?:^|[\s,])no-transform(?:$|[\s,;=])/i.test(cacheControl)
}

/** Adds `Accept-Encoding` to `Vary`, where it is not said already (RFC 9110 §12.5.5). */
export function varyByEncoding(response: ResponseHeader): void {
  const vary = response.getCombined('vary')
  if (vary === undefined || vary.trim() === '') response.insertHeader('Vary', 'Accept-Encoding')
  else if (!/(?:^|,)\s*(?:\*|accept-encoding)\s*(?:,|$)/i.test(vary)) {
    response.insertHeader('Vary', `${vary}, Accept-Encoding`)
  }
}

/**
 * Makes a strong entity tag weak: other bytes, same meaning (RFC 9110 §8.8.1). One that is malformed cannot be
 * made weak and goes.
 */
export function weakenEtag(response: ResponseHeader): void {
  const etag = response.get('etag')
  if (etag === undefined || etag.startsWith('W/')) return
  if (/^"[^"]*"$/.test(etag)) response.insertHeader('ETag', `W/${etag}`)
  else response.removeHeader('ETag')
}
