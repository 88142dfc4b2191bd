import { suggest } from './check.ts'
import type { Entry } from './entry.ts'
import { type FormatRules, LineWriter } from './line-writer.ts'
import { cut, type Piece, parse } from './template.ts'
import { type Reader, readerOf, readsAddresses, type Value } from './variables.ts'

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
  const columns = Object.keys(format).map((name, index) => ({
    name,
    single: singleVariable(pieces[index] as Piece[]),
    ...compile(pieces[index] as Piece[], rules),
  }))
  const { valueCharactersMax } = rules
  const fields = (entry: Entry) => {
    const record: Record<string, string | number | null> = {}
    for (const { name, single, literals, readers } of columns) {
      if (single !== undefined) {
        record[name] = typed((readers[0] as Reader)(entry), single, valueCharactersMax)
        continue
      }
      let text = literals[0] as string
      for (let index = 0; index < readers.length; index++) {
        const value = (readers[index] as Reader)(entry)
        text += value === undefined ? '-' : cut(String(value), valueCharactersMax)
        text += literals[index + 1]
      }
      record[name] = text
    }
    return record
  }
  return {
    readsAddresses: pieces.flat().some(({ variable }) => variable !== undefined && readsAddresses(variable)),
    fields,
    line: (entry) => asciiJson(fields(entry)),
  }
}

/** The variable that a template consists of, and nothing else: it keeps its type, and its absence. */
function singleVariable(pieces: readonly Piece[]): string | undefined {
  const [first, end] = pieces
  return pieces.length === 2 && first?.text === '' && end?.text === '' ? first.variable : undefined
}

/** Times that a line shows with three decimals; in JSON they are numbers. */
const DECIMAL: ReadonlySet<string> = new Set(['request_time', 'msec'])

function typed(value: Value, variable: string, charactersMax: number): string | number | null {
  if (value === undefined) return null
  if (typeof value === 'number') return value
  return DECIMAL.has(variable) ? Number(value) : cut(value, charactersMax)
}

/** `literals[0] readers[0] literals[1] …`: always one literal more. */
function compile(pieces: readonly Piece[], rules: FormatRules): { literals: string[]; readers: Reader[] } {
  const literals: string[] = []
  const readers: Reader[] = []
  for (const { text, variable } of pieces) {
    literals.push(text)
    if (variable !== undefined) readers.push(readerOf(variable, rules.isSecretField))
  }
  return { literals, readers }
}

/** JSON in ASCII: no line separator, terminal control or broken surrogate gets through. */
function asciiJson(record: object): string {
  const text = JSON.stringify(record)
  return BEYOND.test(text)
    ? text.replace(BEYOND_ALL, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    : text
}

const BEYOND = /[\x7f-\uffff]/
const BEYOND_ALL = /[\x7f-\uffff]/g
