import { equalsIgnoreCase, isFieldValue, isToken, trimOws } from './characters.ts'
import type { FieldLines } from './field-lines.ts'

/** What `build` takes for fields: name and value pairs, or a record (a list stands for several fields). */
export type FieldsInit =
  | Iterable<readonly [name: string, value: string | number]>
  | Readonly<Record<string, string | number | readonly string[]>>

/**
 * The fields of a request or a response, in the sender's order and spelling.
 *
 * They are one flat array, so a head of ten fields costs one array and no map; names are matched without
 * regard to case in a short loop. Values are strings of bytes (latin1): one code unit is one byte.
 */
export abstract class HeaderFields {
  /**
   * The field lines as they were received, for as long as nothing was edited; else null. For writers: what
   * they say and what `fields` says is the same.
   */
  lines: FieldLines | null
  /**
   * Names, in lower case, of fields that no header compression may keep: the sender of an HTTP/2 message said so of
   * them (RFC 7541 §7.1.3), and each hop has to say it again. Set it to protect fields of your own towards HTTP/2
   * peers; `authorization` and short cookies always are. null for none.
   */
  neverIndexed: ReadonlySet<string> | null = null
  private list: string[] | null

  /** @param fields - The flat array, taken over and not checked, or lines that a parser has checked. */
  constructor(fields: string[] | FieldLines) {
    this.list = Array.isArray(fields) ? fields : null
    this.lines = this.list === null ? (fields as FieldLines) : null
  }

  /** `[name, value, name, value, …]`. Read it as you like; edit through the methods, which check. */
  get fields(): string[] {
    this.list ??= (this.lines as FieldLines).fields.slice()
    return this.list
  }

  /** The same, not to be changed: other heads may share it. */
  private get shared(): readonly string[] {
    return this.list ?? (this.lines as FieldLines).fields
  }

  /** The fields, to be edited: what was received is no longer what is there. @internal */
  editFields(): string[] {
    const fields = this.fields
    this.lines = null
    return fields
  }

  /** Leaves the hop-by-hop lines out, which stand together. @internal */
  strip(): void {
    this.lines = (this.lines as FieldLines).stripped
    this.list = null
  }

  /** What a copy takes over. */
  protected copyFields(): string[] | FieldLines {
    return this.lines ?? this.fields.slice()
  }

  /** How many fields there are; two fields of one name count twice. */
  get fieldCount(): number {
    return this.shared.length >> 1
  }

  /** The value of the first field named `name` in any case, or `undefined`. */
  get(name: string): string | undefined {
    const index = indexOfName(this.shared, name, 0)
    return index < 0 ? undefined : this.shared[index + 1]
  }

  /** The values of all fields named `name` in any case, in their order. */
  getAll(name: string): string[] {
    const fields = this.shared
    const values: string[] = []
    for (let index = indexOfName(fields, name, 0); index >= 0; index = indexOfName(fields, name, index + 2)) {
      values.push(fields[index + 1] as string)
    }
    return values
  }

  /**
   * All values of `name` joined by `", "`, which means the same for a list field (RFC 9110 §5.3), or
   * `undefined`. Not for `Set-Cookie`, whose values hold commas: use `getAll`.
   */
  getCombined(name: string): string | undefined {
    const fields = this.shared
    let index = indexOfName(fields, name, 0)
    if (index < 0) return undefined
    let combined = fields[index + 1] as string
    for (index = indexOfName(fields, name, index + 2); index >= 0; ) {
      combined += `, ${fields[index + 1]}`
      index = indexOfName(fields, name, index + 2)
    }
    return combined
  }

  /** True when a field named `name` in any case is there, empty or not. */
  has(name: string): boolean {
    return indexOfName(this.shared, name, 0) >= 0
  }

  /**
   * Makes `value` the only value of `name`: the first field of that name keeps its place and takes the
   * new spelling, the others go. Without one the field is added at the end.
   *
   * @param value - Spaces and tabs at its ends are dropped: they are not part of a value (RFC 9110 §5.5).
   * @throws {TypeError} If `name` is no token or `value` holds a control character or a code unit above
   * 255. The message names the field, never the value.
   */
  insertHeader(name: string, value: string | number): void {
    const checked = checkedValue(name, value)
    const fields = this.editFields()
    const index = indexOfName(fields, name, 0)
    if (index < 0) {
      fields.push(name, checked)
      return
    }
    fields[index] = name
    fields[index + 1] = checked
    removeFrom(fields, name, index + 2)
  }

  /**
   * Adds a field at the end and leaves those of the same name.
   *
   * @param value - Spaces and tabs at its ends are dropped.
   * @throws {TypeError} As `insertHeader`.
   */
  appendHeader(name: string, value: string | number): void {
    const checked = checkedValue(name, value)
    this.editFields().push(name, checked)
  }

  /** Removes every field named `name` in any case; true when there was one. */
  removeHeader(name: string): boolean {
    const index = indexOfName(this.shared, name, 0)
    if (index < 0) return false
    removeFrom(this.editFields(), name, index)
    return true
  }

  /** Calls `callback` for each field in order. The fields must not be edited meanwhile. */
  forEachField(callback: (name: string, value: string) => void): void {
    const fields = this.shared
    for (let index = 0; index < fields.length; index += 2) {
      callback(fields[index] as string, fields[index + 1] as string)
    }
  }

  /** Walks the fields as `[name, value]`; `forEachField` does it without an array per field. */
  *[Symbol.iterator](): Generator<[name: string, value: string]> {
    const fields = this.shared
    for (let index = 0; index < fields.length; index += 2) {
      yield [fields[index] as string, fields[index + 1] as string]
    }
  }
}

/** A checked flat array out of what `build` was given. */
export function fieldsFrom(init: FieldsInit | undefined): string[] {
  const fields: string[] = []
  if (init === undefined) return fields
  if (typeof init !== 'object' || init === null) {
    throw new TypeError(`Header fields must be pairs or a record, received ${typeof init}`)
  }
  if (Symbol.iterator in init) {
    for (const pair of init as Iterable<readonly [string, string | number]>) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new TypeError('Header fields in a list must be pairs of name and value')
      }
      fields.push(pair[0], checkedValue(pair[0], pair[1]))
    }
    return fields
  }
  const record = init as Readonly<Record<string, string | number | readonly string[]>>
  for (const name of Object.keys(record)) {
    const value = record[name] as string | number | readonly string[]
    if (typeof value === 'string' || typeof value === 'number') {
      fields.push(name, checkedValue(name, value))
    } else if (Array.isArray(value)) {
      for (const each of value as readonly string[]) fields.push(name, checkedValue(name, each))
    } else {
      throw new TypeError(`Value of header "${printable(name)}" must be a string, a number or a list`)
    }
  }
  return fields
}

/** The lines of a header as they go on the wire, without the empty line that ends a head. */
export function linesOf(header: HeaderFields): string {
  return header.lines?.block ?? fieldsToWire(header.fields)
}

/** The lines of `fields` as they go on the wire, without the empty line that ends a head. */
function fieldsToWire(fields: readonly string[]): string {
  let wire = ''
  for (let index = 0; index < fields.length; index += 2) {
    wire += `${fields[index]}: ${fields[index + 1]}\r\n`
  }
  return wire
}

function indexOfName(fields: readonly string[], name: string, from: number): number {
  const length = name.length
  for (let index = from; index < fields.length; index += 2) {
    const candidate = fields[index] as string
    if (candidate.length === length && (candidate === name || equalsIgnoreCase(candidate, name))) return index
  }
  return -1
}

function removeFrom(fields: string[], name: string, from: number): void {
  let kept = indexOfName(fields, name, from)
  if (kept < 0) return
  for (let index = kept + 2; index < fields.length; index += 2) {
    const candidate = fields[index] as string
    if (equalsIgnoreCase(candidate, name)) continue
    fields[kept] = candidate
    fields[kept + 1] = fields[index + 1] as string
    kept += 2
  }
  fields.length = kept
}

function checkedValue(name: string, value: string | number): string {
  if (typeof name !== 'string' || !isToken(name)) {
    throw new TypeError(`Header name must be a token, received "${printable(String(name))}"`)
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value))
      throw new TypeError(`Value of header "${name}" must be finite, received ${value}`)
    return String(value)
  }
  if (typeof value !== 'string') {
    throw new TypeError(`Value of header "${name}" must be a string or a number, received ${typeof value}`)
  }
  if (!isFieldValue(value)) {
    throw new TypeError(`Value of header "${name}" holds a control character or a code unit above 255`)
  }
  return trimOws(value)
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 64)).slice(1, -1)
}
