import type { Entry } from './entry.ts'
import { FieldTexts } from './field-texts.ts'
import { cut, type Piece } from './template.ts'
import { isFieldVariable, isPlainVariable, type Reader, readerOf, type Value } from './variables.ts'

/** What variables need to know at construction. */
export interface FormatRules {
  readonly isSecretField: (name: string) => boolean
  /** A longer value is cut. */
  readonly valueCharactersMax: number
}

interface Column {
  readonly read: Reader
  /** What follows it, up to the next one. */
  readonly literal: string
  /** Its values need no looking at: nothing in them is escaped, nor are they long. */
  readonly isPlain: boolean
  /** Where it is among the columns that only fields of the request decide; -1 for others. */
  readonly fieldIndex: number
}

/** Writes a template's lines of text. */
export class LineWriter {
  readonly #start: string
  readonly #columns: readonly Column[]
  readonly #fieldTexts: FieldTexts
  readonly #valueCharactersMax: number

  constructor(pieces: readonly Piece[], rules: FormatRules) {
    const columns: Column[] = []
    const fieldReaders: Reader[] = []
    pieces.forEach(({ variable }, index) => {
      if (variable === undefined) return
      const read = readerOf(variable, rules.isSecretField)
      const fieldIndex = isFieldVariable(variable) ? fieldReaders.push(read) - 1 : -1
      const literal = (pieces[index + 1] as Piece).text
      columns.push({ read, literal, isPlain: isPlainVariable(variable), fieldIndex })
    })
    this.#start = pieces[0]?.text ?? ''
    this.#columns = columns
    this.#valueCharactersMax = rules.valueCharactersMax
    this.#fieldTexts = new FieldTexts(fieldReaders, (value) => shown(value, rules.valueCharactersMax))
  }

  write(entry: Entry): string {
    const fields = this.#fieldTexts.of(entry)
    let line = this.#start
    for (const { read, literal, isPlain, fieldIndex } of this.#columns) {
      if (fieldIndex >= 0) line += fields[fieldIndex]
      else if (isPlain) line += read(entry) ?? '-'
      else line += shown(read(entry), this.#valueCharactersMax)
      line += literal
    }
    return line
  }
}

/** A value in a line of text: nobody can forge a line or a column with it. */
function shown(value: Value, charactersMax: number): string {
  if (value === undefined || value === '') return '-'
  if (typeof value === 'number') return String(value)
  const text = value.length > charactersMax ? cut(value, charactersMax) : value
  return UNSAFE.test(text) ? text.replace(UNSAFE_ALL, escaped) : text
}

// As nginx does: quotes, backslashes, controls and everything above ASCII.
const UNSAFE = /[^\x20\x21\x23-\x5b\x5d-\x7e]/
const UNSAFE_ALL = /[^\x20\x21\x23-\x5b\x5d-\x7e]/gu

function escaped(character: string): string {
  let text = ''
  // Fields hold bytes; what code gave, such as a request's id, may hold any character.
  const bytes = character.charCodeAt(0) < 256 ? [character.charCodeAt(0)] : Buffer.from(character)
  for (const byte of bytes) text += `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return text
}
