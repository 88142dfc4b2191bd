import { suggest } from './check.ts'
import type { Entry } from './entry.ts'
import { JsonWriter } from './json-writer.ts'
import { type FormatRules, LineWriter } from './line-writer.ts'
import { type Piece, parse } from './template.ts'
import { readsAddresses } from './variables.ts'

/**
 * What a line looks like: the name of a preset; a template such as `'$remote_addr $status'`; or for JSON an object
 * whose values are templates: `{ client: '$remote_addr', status: '$status' }`.
 */
export type AccessLogFormat = string | Readonly<Record<string, string>>

/** The formats that have a name. `combined` is nginx's; Apache's differ from it in showing no bytes as `-`. */
export const ACCESS_LOG_PRESETS: Readonly<Record<'combined' | 'apache-common' | 'apache-combined', string>> =
  Object.freeze({
    combined:
      '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"',
    'apache-common': '$remote_addr - $remote_user [$time_local] "$request" $status $clf_body_bytes_sent',
    'apache-combined':
      '$remote_addr - $remote_user [$time_local] "$request" $status $clf_body_bytes_sent "$http_referer" "$http_user_agent"',
  })

/** A format, ready to use. */
export interface CompiledFormat {
  /** Whether it shows addresses, which must be asked for while the connection stands. */
  readonly readsAddresses: boolean
  line(entry: Entry): string
  /** For JSON: the line's fields. */
  fields: ((entry: Entry) => Record<string, string | number | null>) | undefined
}

/** @throws {TypeError} If there is no such preset or variable, or a template is malformed. */
export function compileFormat(format: AccessLogFormat, rules: FormatRules): CompiledFormat {
  if (typeof format === 'string') return compileText(format, rules)
  if (typeof format !== 'object' || format === null || Array.isArray(format)) {
    throw new TypeError('format must be a string or an object of strings')
  }
  return compileFields(format, rules)
}

function compileText(format: string, rules: FormatRules): CompiledFormat {
  const isPreset = Object.hasOwn(ACCESS_LOG_PRESETS, format)
  if (!isPreset && !format.includes('$')) {
    throw new TypeError(
      `"${format}" is no preset and has no variable${suggest(format, Object.keys(ACCESS_LOG_PRESETS))}`,
    )
  }
  const template = isPreset ? ACCESS_LOG_PRESETS[format as keyof typeof ACCESS_LOG_PRESETS] : format
  if (/[\r\n]/.test(template)) throw new TypeError('A template for a line must not have a line break')
  const pieces = parse(template).flatMap(splitRequest)
  const line = new LineWriter(pieces, rules)
  return {
    readsAddresses: pieces.some(({ variable }) => variable !== undefined && readsAddresses(variable)),
    fields: undefined,
    line: (entry) => line.write(entry),
  }
}

/** One variable as three: what is checked and copied is then the target alone. */
function splitRequest(piece: Piece): Piece[] {
  if (piece.variable !== 'request') return [piece]
  return [
    { text: piece.text, variable: 'request_method' },
    { text: ' ', variable: 'request_uri' },
    { text: ' ', variable: 'server_protocol' },
  ]
}

function compileFields(format: Readonly<Record<string, string>>, rules: FormatRules): CompiledFormat {
  const pieces = Object.values(format).map((template) => {
    if (typeof template !== 'string') throw new TypeError('The values of a JSON format must be templates')
    return parse(template)
  })
  if (pieces.length === 0) throw new TypeError('A JSON format needs a field')
  const writer = new JsonWriter(Object.keys(format), pieces, rules)
  return {
    readsAddresses: pieces.flat().some(({ variable }) => variable !== undefined && readsAddresses(variable)),
    fields: (entry) => writer.fields(entry),
    line: (entry) => writer.line(entry),
  }
}
