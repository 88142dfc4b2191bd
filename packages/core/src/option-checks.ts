import { inspect } from 'node:util'
import { nameHint } from './nearest-name.ts'

/** Returns a whole number between two bounds, or throws RangeError naming what was received. */
export function integer(name: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new RangeError(
    `Expected ${name} to be a whole number from ${min} to ${max}, received ${inspect(value)}`,
  )
}

/** Throws for what holds no options, though `Object.keys` finds no fault with it: a number, an array, a function. */
export function requireOptions(options: object, where: string): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new TypeError(`Expected the options of ${where} to be an object, received ${inspect(options)}`)
}

/** Throws for an option nobody would read. */
export function rejectUnknown(options: object, keys: readonly string[], where: string): void {
  requireOptions(options, where)
  for (const key of Object.keys(options)) {
    if (!keys.includes(key)) {
      throw new TypeError(`Unknown option ${inspect(key)} of ${where}${nameHint(key, keys)}`)
    }
  }
}
