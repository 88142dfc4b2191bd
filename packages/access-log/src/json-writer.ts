import type { Entry } from './entry.ts'
import { FieldTexts } from './field-texts.ts'
import type { FormatRules } from './line-writer.ts'
import { cut, type Piece } from './template.ts'
import { isFieldVariable, type Reader, readerOf, type Value } from './variables.ts'

type JsonValue = string | number | null

interface Column {
  readonly name: string
  /** What stands before the value: a comma or brace, the name, a colon. */
  readonly prefix: string
  readonly read: (entry: Entry) => JsonValue
  /** Where it is among the columns that only fields of the request decide; -1 for others. */
  readonly fieldIndex: number
}

/** Writes the objects of a JSON format: as lines, or as fields for a logger. */
export class JsonWriter {
  readonly #columns: readonly Column[]
  readonly #fieldTexts: FieldTexts

  constructor(names: readonly string[], templates: readonly (readonly Piece[])[], rules: FormatRules) {
    const fieldReaders: Reader[] = []
    this.#columns = names.map((name, index) => {
      const pieces = templates[index] as readonly Piece[]
      const variable = singleVariable(pieces)
      const prefix = `${index === 0 ? '{' : ','}${asciiJson(name)}:`
      if (variable === undefined) return { name, prefix, read: textOf(pieces, rules), fieldIndex: -1 }
      const read = readerOf(variable, rules.isSecretField)
      return {
        name,
        prefix,
        read: (entry) => typed(read(entry), variable, rules.valueCharactersMax),
        fieldIndex: isFieldVariable(variable) ? fieldReaders.push(read) - 1 : -1,
      }
    })
    const show = (value: Value) => {
      return value === undefined ? 'null' : quoted(cut(String(value), rules.valueCharactersMax))
    }
    this.#fieldTexts = new FieldTexts(fieldReaders, show)
  }

  fields(entry: Entry): Record<string, JsonValue> {
    const record: Record<string, JsonValue> = {}
    for (const { name, read } of this.#columns) record[name] = read(entry)
    return record
  }

  /** The same as one line of ASCII: no line separator, terminal control or broken surrogate gets through. */
  line(entry: Entry): string {
    const fields = this.#fieldTexts.of(entry)
    let line = ''
    for (const { prefix, read, fieldIndex } of this.#columns) {
      line += prefix
      if (fieldIndex >= 0) line += fields[fieldIndex]
      else {
        const value = read(entry)
        line += typeof value === 'string' ? quoted(value) : value
      }
    }
    return `${line}}`
  }
}

/** The variable that a template consists of, and nothing else: it keeps its type, and its absence. */
function singleVariable(pieces: readonly Piece[]): string | undefined {
  const [first, end] = pieces
  return pieces.length === 2 && first?.text === '' && end?.text === '' ? first.variable : undefined
}

/** Times that a line shows with three decimals; in JSON they are numbers. */
const DECIMAL: ReadonlySet<string> = new Set(['request_time', 'msec'])

function typed(value: Value, variable: string, charactersMax: number): JsonValue {
  if (value === undefined) return null
  const known = DECIMAL.has(variable) ? Number(value) : value
  if (typeof known === 'string') return cut(known, charactersMax)
  return Number.isFinite(known) ? known : null
}

function textOf(pieces: readonly Piece[], rules: FormatRules): (entry: Entry) => string {
  const parts = pieces.map(({ text, variable }) => {
    return { text, read: variable === undefined ? undefined : readerOf(variable, rules.isSecretField) }
  })
  return (entry) => {
    let whole = ''
    for (const { text, read } of parts) {
      whole += text
      if (read === undefined) continue
      const value = read(entry)
      whole += value === undefined ? '-' : cut(String(value), rules.valueCharactersMax)
    }
    return whole
  }
}

/** Most values need nothing but quotes. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : asciiJson(text)
}

function asciiJson(text: string): string {
  return JSON.stringify(text).replace(
    BEYOND_ALL,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/
const BEYOND_ALL = /[\x7f-\uffff]/g
