import { inspect } from 'node:util'

/** Longest time that a timer takes, in ms. */
export const TIMEOUT_MS_MAX: number = 2 ** 31 - 1

/** Returns a whole number between two bounds, or throws RangeError naming what was received. */
export function integerIn(name: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new RangeError(
    `Expected ${name} to be a whole number from ${min} to ${max}, received ${inspect(value)}`,
  )
}

/** Throws TypeError for an option that nobody would read. */
export function onlyKeys(where: string, options: object, keys: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`Expected the options of ${where} to be an object, received ${inspect(options)}`)
  }
  for (const key of Object.keys(options)) {
    if (!keys.includes(key)) {
      throw new TypeError(`Unknown option ${inspect(key)} of ${where}; known are ${keys.join(', ')}`)
    }
  }
}

/** Throws TypeError unless the value has this type. */
export function typed<T>(name: string, value: T, type: 'boolean' | 'string' | 'function'): T {
  if (typeof value === type) return value
  throw new TypeError(`Expected ${name} to be a ${type}, received ${inspect(value)}`)
}

/** True for what a hook returned when it has to be waited for. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<T>).then === 'function'
}
