const BARE_LF = /(?<!\r)\n/g
const FOLD = /\r\n[ \t]+/g
const SPACE_BEFORE_COLON = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+:/gm

/**
 * A complete head as the strict grammar wants it: lines end with CRLF, a folded value is on one line with a
 * single space for each fold (RFC 9112 §5.2), and in a response a name touches its colon (RFC 9112 §5.1).
 * White space before the first field stays, and is refused.
 */
export function unfold(head: string, isResponse: boolean): string {
  const lines = head.replace(BARE_LF, '\r\n')
  const first = lines.indexOf('\r\n') + 2
  const second = lines.indexOf('\r\n', first) + 2
  if (second < 2 || lines[first] === ' ' || lines[first] === '\t') return lines
  let fields = lines.slice(first).replace(FOLD, ' ')
  if (isResponse) fields = fields.replace(SPACE_BEFORE_COLON, '$1:')
  return lines.slice(0, first) + fields
}
