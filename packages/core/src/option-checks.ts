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

/** Throws unless it is true or false: `'false'` from an environment would count as true. */
export function requireBoolean(name: string, value: unknown): void {
  if (typeof value === 'boolean') return
  throw new TypeError(`Expected ${name} to be true or false, received ${inspect(value)}`)
}

/** Throws for what is no function, unless none was given. */
export function requireFunction(name: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return
  throw new TypeError(`Expected ${name} to be a function, received ${inspect(value)}`)
}

/** Throws for what is no logger, unless none was given. */
export function requireLogger(where: string, value: unknown): void {
  if (value === undefined) return
  const logger = value as Partial<Record<string, unknown>> | null
  const methods = ['debug', 'info', 'warn', 'error']
  if (typeof logger === 'object' && methods.every((method) => typeof logger?.[method] === 'function')) return
  throw new TypeError(
    `Expected the logger of ${where} to have ${methods.join(', ')}, received ${inspect(value, { depth: 0 })}`,
  )
}

/** Throws for what is neither a path nor a URL, unless none was given. */
export function requireModule(name: string, value: unknown): void {
  if (value === undefined || value instanceof URL || (typeof value === 'string' && value !== '')) return
  throw new TypeError(`Expected ${name} to be the path or URL of a module, received ${inspect(value)}`)
}
