/** A content coding that can be made and read (RFC 9110 §8.4.1, RFC 7932, RFC 8878). */
export type ContentCoding = 'gzip' | 'br' | 'zstd'

export const CONTENT_CODINGS: readonly ContentCoding[] = Object.freeze(['gzip', 'br', 'zstd'])

/** What a client's `Accept-Encoding` says of each coding: its weight from 0, refused, to 1. */
export interface AcceptedCodings {
  readonly gzip: number
  readonly br: number
  readonly zstd: number
  /** Not coded at all; undefined when the field does not speak of it, which accepts it as the last resort. */
  readonly identity: number | undefined
}

const ITEM = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.\d{0,3})?)[ \t]*)?$/

/**
 * Reads an `Accept-Encoding` (RFC 9110 §12.5.3). A missing or empty field accepts no coding: a client that can
 * decode says so. What is not well formed is passed over, so that it accepts nothing.
 *
 * @param value - All fields of that name, joined by commas; undefined for none.
 */
export function acceptedCodings(value: string | undefined): AcceptedCodings {
  let gzip: number | undefined
  let br: number | undefined
  let zstd: number | undefined
  let identity: number | undefined
  let any: number | undefined
  for (const part of (value ?? '').split(',')) {
    const match = ITEM.exec(part.trim())
    if (match === null) continue
    const weight = match[2] === undefined ? 1 : Math.min(1, Number(match[2]))
    switch ((match[1] as string).toLowerCase()) {
      case 'gzip':
      case 'x-gzip':
        gzip = Math.max(gzip ?? 0, weight)
        break
      case 'br':
        br = weight
        break
      case 'zstd':
        zstd = weight
        break
      case 'identity':
        identity = weight
        break
      case '*':
        any = weight
    }
  }
  const rest = any ?? 0
  // "*" speaks of identity only where it refuses it.
  if (identity === undefined && any === 0) identity = 0
  return { gzip: gzip ?? rest, br: br ?? rest, zstd: zstd ?? rest, identity }
}

/**
 * The coding that the client likes best; among equals the first of `offered`.
 *
 * @returns undefined when the client takes none of them, or would rather have the content as it is.
 */
export function chooseCoding(
  accepted: AcceptedCodings,
  offered: Iterable<ContentCoding>,
): ContentCoding | undefined {
  let best: ContentCoding | undefined
  let bestWeight = 0
  for (const coding of offered) {
    if (accepted[coding] > bestWeight) {
      best = coding
      bestWeight = accepted[coding]
    }
  }
  return bestWeight < (accepted.identity ?? 0) ? undefined : best
}
