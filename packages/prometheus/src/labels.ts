import { STATUS_CODES } from 'node:http'
import { errorCodes } from '@cirque/error'
import { COMMON_METHODS } from '@cirque/http'

/** A label's values, each known by its index. Fixed: in every thread the same. */
export type Labels = readonly string[]

/** Clients invent methods at will, so those that nobody knows are one, the last. */
export const METHODS: Labels = [...COMMON_METHODS, 'OTHER']

/** What is left of a status where its number would be too much; `none` when there was no response. */
export const CLASSES: Labels = ['none', '1xx', '2xx', '3xx', '4xx', '5xx', 'other']

const REGISTERED = Object.keys(STATUS_CODES)

/** Registered statuses as they are, others by their class; 0 when there was none. */
export const STATUSES: Labels = ['0', ...REGISTERED, ...CLASSES.slice(1)]

/** Who caused a failure. */
export const SOURCES: Labels = ['downstream', 'upstream', 'internal']

/** Documented codes as they are. Hooks may throw errors with codes of their own: the last. */
export const CODES: Labels = [...Object.keys(errorCodes), 'OTHER']

/** How an attempt went: the class of its status, or the code of its error. */
export const OUTCOMES: Labels = [...CLASSES, ...CODES]

const METHOD_INDEX: ReadonlyMap<string, number> = new Map(METHODS.map((method, index) => [method, index]))
const CODE_INDEX: ReadonlyMap<string, number> = new Map(CODES.map((code, index) => [code, index]))
const STATUS_INDEX = Uint8Array.from({ length: 1_000 }, (_, status) => {
  const index = STATUSES.indexOf(String(status))
  return index >= 0 ? index : 1 + REGISTERED.length + classIndex(status) - 1
})

export function methodIndex(method: string): number {
  return METHOD_INDEX.get(method) ?? METHODS.length - 1
}

export function statusIndex(status: number): number {
  return STATUS_INDEX[status] ?? STATUSES.length - 1
}

export function classIndex(status: number): number {
  return Math.min(Math.trunc(status / 100), CLASSES.length - 1)
}

export function sourceIndex(source: string): number {
  return source === 'downstream' ? 0 : source === 'upstream' ? 1 : 2
}

export function codeIndex(code: string): number {
  return CODE_INDEX.get(code) ?? CODES.length - 1
}
