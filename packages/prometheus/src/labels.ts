import { STATUS_CODES } from 'node:http'
import { errorCodes } from '@cirque/error'

const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'QUERY',
])

/** A method as a label: clients invent methods at will, so those that nobody knows are one. */
export function methodLabel(method: string): string {
  return METHODS.has(method) ? method : 'OTHER'
}

/** A status as a label: registered ones as they are, others by their class; 0 when there was none. */
export function statusLabel(status: number): string | number {
  return status === 0 || Object.hasOwn(STATUS_CODES, status) ? status : classLabel(status)
}

const CLASSES = ['none', '1xx', '2xx', '3xx', '4xx', '5xx'] as const

/** `2xx`; `none` when there was no response. */
export function classLabel(status: number): string {
  return CLASSES[Math.trunc(status / 100)] ?? 'other'
}

/** An error's code as a label: documented ones as they are. Hooks may throw errors with codes of their own. */
export function codeLabel(code: string): string {
  return Object.hasOwn(errorCodes, code) ? code : 'OTHER'
}

/** Gives the first so many names as they are, and `other` for all that come later. */
export class BoundedNames {
  readonly #names: Set<string> = new Set()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  label(name: string): string {
    if (this.#names.has(name)) return name
    if (this.#names.size >= this.#countMax) return 'other'
    this.#names.add(name)
    return name
  }
}
