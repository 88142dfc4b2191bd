import { equalsIgnoreCase, trimOws } from './characters.ts'
import type { FieldLines } from './field-lines.ts'
import type { HeaderFields } from './header-fields.ts'
import { TRAIT_HOP_BY_HOP, TRAIT_SCATTERED, TRAIT_TE, TRAIT_UPGRADE } from './traits.ts'

/** What `removeHopByHop` leaves in place. */
export interface HopByHopOptions {
  /**
   * When `Connection` lists `upgrade`: leaves `Upgrade`, and `Connection: upgrade` in place of the whole
   * `Connection`. Default false.
   */
  readonly keepUpgrade?: boolean
  /** Leaves `TE: trailers` if TE lists `trailers` (gRPC needs it), without other codings. Default false. */
  readonly keepTrailersTe?: boolean
}

/**
 * Fields of one connection only, besides those that `Connection` lists (RFC 9110 §7.6.1). `Trailer` is not
 * among them: it describes trailers, which are forwarded. `HTTP2-Settings` belongs to an upgrade to h2c.
 */
const HOP_BY_HOP: readonly string[] = [
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]

/**
 * Fields meant for every recipient, which a `Connection` option must not name (RFC 9110 §7.6.1). To remove
 * them at a peer's wish would change who is served, with what rights, and where the message ends.
 */
const END_TO_END: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expires',
  'forwarded',
  'host',
  'location',
  'origin',
  'pragma',
  'range',
  'set-cookie',
  'vary',
  'via',
  'www-authenticate',
  'x-real-ip',
])

/** True for an option that may not stand in `Connection`, in any case. */
export function isForbiddenConnectionOption(option: string): boolean {
  const lower = option.toLowerCase()
  return END_TO_END.has(lower) || lower.startsWith('x-forwarded-')
}

/** The options of a `Connection` value: the list without its white space and its empty members. */
export function connectionOptions(value: string): string[] {
  const options: string[] = []
  for (const member of value.split(',')) {
    const option = trimOws(member)
    if (option !== '') options.push(option)
  }
  return options
}

/**
 * Removes the fields that are meant for one connection only (RFC 9110 §7.6.1): `Connection`,
 * `Proxy-Connection`, `Keep-Alive`, `TE`, `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings`, and every field
 * that `Connection` lists. Called for each message that is passed on, in both directions; when the parser's
 * `hopByHop` is false it may be left out.
 *
 * `Content-Length`, `Host`, `Authorization`, `Cookie`, `X-Forwarded-*` and their like stay although listed:
 * the strict parser refuses such a message, and the lenient one must not let a peer strip them.
 */
export function removeHopByHop(header: HeaderFields, options?: HopByHopOptions): void {
  const keepTrailersTe = options?.keepTrailersTe === true
  if (header.lines !== null && cutFromLines(header, options?.keepUpgrade === true, keepTrailersTe)) return
  const fields = header.editFields()
  let listed: string[] | null = null
  for (let index = 0; index < fields.length; index += 2) {
    if (!equalsIgnoreCase(fields[index] as string, 'connection')) continue
    const value = fields[index + 1] as string
    if (equalsIgnoreCase(value, 'keep-alive') || equalsIgnoreCase(value, 'close')) continue
    for (const option of connectionOptions(value)) {
      if (isForbiddenConnectionOption(option)) continue
      if (listed === null) listed = [option]
      else listed.push(option)
    }
  }
  const keepUpgrade = options?.keepUpgrade === true && listed !== null && includesName(listed, 'upgrade')
  let kept = 0
  let connectionKept = false
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] as string
    let value = fields[index + 1] as string
    if (isHopByHop(name) || (listed !== null && includesName(listed, name))) {
      if (keepUpgrade && equalsIgnoreCase(name, 'upgrade')) {
        // Kept as it is.
      } else if (keepUpgrade && !connectionKept && equalsIgnoreCase(name, 'connection')) {
        connectionKept = true
        value = 'upgrade'
      } else if (keepTrailersTe && equalsIgnoreCase(name, 'te') && listsTrailers(value)) {
        value = 'trailers'
      } else {
        continue
      }
    }
    fields[kept] = name
    fields[kept + 1] = value
    kept += 2
  }
  if (kept !== fields.length) fields.length = kept
}

/** The usual case: nothing to remove, or a few lines that stand together. False when the fields have to be walked. */
function cutFromLines(header: HeaderFields, keepUpgrade: boolean, keepTrailersTe: boolean): boolean {
  const traits = (header.lines as FieldLines).traits
  if ((traits & TRAIT_HOP_BY_HOP) === 0) return true
  if ((traits & TRAIT_SCATTERED) !== 0) return false
  if (keepUpgrade && (traits & TRAIT_UPGRADE) !== 0) return false
  if (keepTrailersTe && (traits & TRAIT_TE) !== 0) return false
  header.strip()
  return true
}

function isHopByHop(name: string): boolean {
  switch (name.length) {
    case 2:
    case 7:
    case 10:
    case 14:
    case 16:
    case 17:
      return includesName(HOP_BY_HOP, name)
    default:
      return false
  }
}

function includesName(names: readonly string[], name: string): boolean {
  for (let index = 0; index < names.length; index++) {
    if (equalsIgnoreCase(names[index] as string, name)) return true
  }
  return false
}

function listsTrailers(value: string): boolean {
  return value.split(',').some((member) => equalsIgnoreCase(trimOws(member), 'trailers'))
}
