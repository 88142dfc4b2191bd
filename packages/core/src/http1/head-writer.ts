import {
  canonicalReason,
  httpDate,
  type RequestHeader,
  type ResponseHeader,
  TRAIT_DATE,
  TRAIT_HOP_BY_HOP,
} from '@cirque/http'

/**
 * A request's head as it goes on the wire, up to the empty line.
 *
 * Framing is written from `contentLength`, whatever the fields say of it; connection fields are left out.
 * Fields that nobody edited go out as the lines that came in.
 */
export function requestHeadText(header: RequestHeader, contentLength: number, upgrade: boolean): string {
  const { lines } = header
  let text = header.startLine ?? `${header.method} ${header.target} HTTP/1.1\r\n`
  if (
    lines !== null &&
    !upgrade &&
    (lines.traits & TRAIT_HOP_BY_HOP) === 0 &&
    (contentLength === lines.contentLength || (contentLength <= 0 && lines.contentLength < 0))
  ) {
    text += lines.block
    return contentLength < 0 ? `${text}Transfer-Encoding: chunked\r\n\r\n` : `${text}\r\n`
  }
  let sized = false
  let listsTe = false
  const fields = header.fields
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    const kind = connectionField(name)
    if (kind === CONNECTION || (kind === UPGRADE && !upgrade)) continue
    if (kind === TE) listsTe = true
    if (kind === LENGTH) {
      if (sized || contentLength < 0) continue
      sized = true
      text += `${name}: ${contentLength}\r\n`
    } else text += `${name}: ${value}\r\n`
  }
  if (contentLength > 0 && !sized) text += `Content-Length: ${contentLength}\r\n`
  else if (contentLength < 0) text += 'Transfer-Encoding: chunked\r\n'
  // Who sends TE must list it (RFC 9110 §10.1.4).
  if (listsTe) text += upgrade ? 'Connection: upgrade, TE\r\n' : 'Connection: TE\r\n'
  else if (upgrade) text += 'Connection: upgrade\r\n'
  return `${text}\r\n`
}

/**
 * A final response's head up to and without the fields of its connection: the caller adds those and the
 * empty line. As with requests, framing is written from the arguments.
 *
 * @param contentLength - The body's length, or -1 when it is not known.
 * @param bodyless - No body follows (HEAD, 204, 304); a Content-Length then describes the one that would have been.
 */
export function responseHeadText(
  header: ResponseHeader,
  contentLength: number,
  bodyless: boolean,
  chunked: boolean,
): string {
  const { status, lines } = header
  let text = statusLine(status, header.reason)
  if (
    lines !== null &&
    (lines.traits & TRAIT_HOP_BY_HOP) === 0 &&
    (status === 204 ? lines.contentLength < 0 : bodyless || contentLength === lines.contentLength)
  ) {
    text += lines.block
    if ((lines.traits & TRAIT_DATE) === 0) text += `Date: ${httpDate()}\r\n`
    return chunked ? `${text}Transfer-Encoding: chunked\r\n` : text
  }
  let dated = false
  let sized = false
  const fields = header.fields
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    const kind = connectionField(name)
    if (kind === CONNECTION || kind === UPGRADE) continue
    if (kind === LENGTH) {
      if (sized || status === 204 || (contentLength < 0 && !bodyless)) continue
      sized = true
      text += bodyless ? `${name}: ${value}\r\n` : `${name}: ${contentLength}\r\n`
      continue
    }
    if (kind === DATE) dated = true
    text += `${name}: ${value}\r\n`
  }
  if (!dated) text += `Date: ${httpDate()}\r\n`
  if (chunked) text += 'Transfer-Encoding: chunked\r\n'
  else if (contentLength >= 0 && !bodyless && !sized) text += `Content-Length: ${contentLength}\r\n`
  return text
}

/**
 * The fields of a head that no body follows whatever it says: an interim response, or a switch of protocols. What
 * frames a body is left out (RFC 9110 §8.6, RFC 9112 §6.1): somebody behind us might believe it.
 */
export function unframedFieldsText(header: ResponseHeader, keepsUpgrade: boolean): string {
  let text = ''
  const { fields } = header
  for (let i = 0; i < fields.length; i += 2) {
    const kind = connectionField(fields[i] as string)
    if (kind === CONNECTION || kind === LENGTH || (kind === UPGRADE && !keepsUpgrade)) continue
    text += `${fields[i]}: ${fields[i + 1]}\r\n`
  }
  return text
}

/** Status lines with their registered reason, by status, as they are asked for. */
const statusLines: (string | undefined)[] = []

/** A status line; without a reason, as HTTP/2 has none, the registered one is written. */
export function statusLine(status: number, reason: string): string {
  const canonical = canonicalReason(status)
  if (reason !== '' && reason !== canonical) return `HTTP/1.1 ${status} ${reason}\r\n`
  let line = statusLines[status]
  if (line === undefined) {
    line = `HTTP/1.1 ${status} ${canonical}\r\n`
    statusLines[status] = line
  }
  return line
}

const ORDINARY = 0
const CONNECTION = 1
const LENGTH = 2
const DATE = 3
const UPGRADE = 4
const TE = 5

/** Tells the fields apart that a writer decides on by itself; by length first, which settles most. */
function connectionField(name: string): number {
  switch (name.length) {
    case 2:
      return name.toLowerCase() === 'te' ? TE : ORDINARY
    case 4:
      return name.toLowerCase() === 'date' ? DATE : ORDINARY
    case 7:
      return name.toLowerCase() === 'upgrade' ? UPGRADE : ORDINARY
    case 10: {
      const lower = name.toLowerCase()
      return lower === 'connection' || lower === 'keep-alive' ? CONNECTION : ORDINARY
    }
    case 14:
      return name.toLowerCase() === 'content-length' ? LENGTH : ORDINARY
    case 17:
      return name.toLowerCase() === 'transfer-encoding' ? CONNECTION : ORDINARY
    default:
      return ORDINARY
  }
}
