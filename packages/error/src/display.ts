import { isProxyError } from './proxy-error.ts'

/** More links of a chain than this are cut off: nobody reads them, and a chain may be a circle. */
const DEPTH_MAX = 8
/** The same for the search of the root, which only has to end: a getter may make up a new cause each time. */
const ROOT_DEPTH_MAX = 1_000
/** Characters of a whole line, and of one message in it. Longer ones end in an ellipsis. */
const LINE_CHARS_MAX = 2_048
const TEXT_CHARS_MAX = 512
/** Of the failures that an `AggregateError` holds, as many are shown. */
const AGGREGATE_COUNT_MAX = 4

/**
 * The whole story of an error on one line, for logs: source, code, message, context, then its causes in the same way.
 *
 * What a cause shares with the error around it is shown once. Works for any value, never throws, follows at most 8
 * causes, gives at most 2,048 characters, and spells control and direction characters as `\u000a`, so that no peer
 * can write a log line of its own.
 *
 * @example
 * displayError(error)
 * // upstream CONNECT_REFUSED: Cannot connect to "10.0.0.1:80"; context: attempt 2; cause: Error: connect ECONNREFUSED
 */
export function displayError(error: unknown): string {
  const parts: string[] = []
  let link = error
  let outer: Link | undefined
  for (let depth = 0; depth < DEPTH_MAX && link !== undefined && link !== null; depth++) {
    const seen = tryDescribe(link)
    const text = render(seen, outer)
    if (text !== '') parts.push(parts.length === 0 ? text : `cause: ${text}`)
    outer = seen
    link = seen.cause
  }
  if (link !== undefined && link !== null && parts.length > 0) parts.push('cause: …')
  // The cut may fall between the halves of a character.
  return cut(parts.length === 0 ? text(String(error)) : parts.join('; '), LINE_CHARS_MAX).toWellFormed()
}

/**
 * The innermost cause of `error`, or `error` itself when it has none. Stops where a chain runs into a circle, and
 * after 1,000 links.
 */
export function rootCause(error: unknown): unknown {
  const seen = new Set<unknown>()
  let link = error
  while (seen.size < ROOT_DEPTH_MAX) {
    seen.add(link)
    const cause = read(link, 'cause')
    if (cause === undefined || cause === null || seen.has(cause)) return link
    link = cause
  }
  return link
}

/** What is shown of one error of the chain. */
interface Link {
  readonly label: string
  readonly message: string
  readonly context: string
  readonly cause: unknown
}

/** An error may be a proxy or have getters, and any of them may throw; the log line is written all the same. */
function tryDescribe(error: unknown): Link {
  try {
    return describe(error)
  } catch {
    return { label: '', message: 'unreadable error', context: '', cause: undefined }
  }
}

function describe(error: unknown): Link {
  if (typeof error !== 'object' || error === null) {
    return { label: '', message: text(error), context: '', cause: undefined }
  }
  const code = text(read(error, 'code'))
  const cause = read(error, 'cause')
  const message = text(read(error, 'message'))
  if (isProxyError(error)) {
    return {
      label: `${text(read(error, 'source'))} ${code}`,
      message,
      context: text(read(error, 'context')),
      cause,
    }
  }
  const name = text(read(error, 'name')) || 'Object'
  // Node's messages mostly begin with the code: shown once is enough.
  const label = code === '' || message.includes(code) ? name : `${name} ${code}`
  return { label, message: message + aggregated(error), context: '', cause }
}

function aggregated(error: object): string {
  const errors = read(error, 'errors')
  if (!Array.isArray(errors) || errors.length === 0) return ''
  const shown = errors.slice(0, AGGREGATE_COUNT_MAX).map((part) => text(read(part, 'message') ?? part))
  return ` [${shown.join(', ')}${errors.length > AGGREGATE_COUNT_MAX ? ', …' : ''}]`
}

function render(link: Link, outer: Link | undefined): string {
  const label = link.label === outer?.label ? '' : link.label
  const message = link.message === outer?.message ? '' : link.message
  const head = label === '' || message === '' ? label + message : `${label}: ${message}`
  if (link.context === '') return head
  return head === '' ? `context: ${link.context}` : `${head}; context: ${link.context}`
}

/** A property of any value; a getter that throws counts as absent. */
function read(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  try {
    return (value as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function text(value: unknown): string {
  if (value === undefined || value === null) return ''
  try {
    return sanitize(cut(typeof value === 'string' ? value : String(value), TEXT_CHARS_MAX))
  } catch {
    return ''
  }
}

/** Controls (C0, DEL, C1), line and paragraph separators, and the characters that turn the reading direction. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the point
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

function sanitize(value: string): string {
  return value
    .toWellFormed()
    .replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function cut(value: string, charsMax: number): string {
  return value.length <= charsMax ? value : `${value.slice(0, charsMax - 1)}…`
}
