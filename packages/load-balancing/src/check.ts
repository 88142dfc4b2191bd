import { inspect } from 'node:util'

/** Requires an integer in a range; returns it. */
export function integerIn(name: string, value: number, minimum: number, maximum: number): number {
  if (Number.isSafeInteger(value) && value >= minimum && value <= maximum) return value
  throw new RangeError(
    `Expected ${name} to be an integer from ${minimum} to ${maximum}, received ${show(value)}`,
  )
}

/** Requires a finite number in a range; returns it. */
export function numberIn(name: string, value: number, minimum: number, maximum: number): number {
  if (typeof value === 'number' && value >= minimum && value <= maximum) return value
  throw new RangeError(
    `Expected ${name} to be a number from ${minimum} to ${maximum}, received ${show(value)}`,
  )
}

/** The longest delay a Node timer can take; longer ones would fire at once. */
export const TIMER_MS_MAX: number = 2_147_483_647

/** Requires a duration that a timer can take; returns it. */
export function milliseconds(name: string, value: number, minimum: number = 1): number {
  return numberIn(name, value, minimum, TIMER_MS_MAX)
}

/** Requires a function; returns it. */
export function functionOf<T>(name: string, value: T): T {
  if (typeof value === 'function') return value
  throw new TypeError(`Expected ${name} to be a function, received ${show(value)}`)
}

/** Requires true or false: `'false'` from an environment would count as true. */
export function booleanOf(name: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError(`Expected ${name} to be true or false, received ${show(value)}`)
}

/** Requires an object: of a primitive no option would be read. */
export function objectOf<T>(name: string, value: T): T {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new TypeError(`Expected ${name} to be an object, received ${show(value)}`)
}

/** Refuses an option that no field has, so that a misspelt one is not silently ignored. */
export function onlyKeys(what: string, options: object, known: readonly string[]): void {
  objectOf(`the options of ${what}`, options)
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(`Unknown option ${show(key)} of ${what}; known are ${known.join(', ')}`)
    }
  }
}

/** A value as it is shown in an error. */
export function show(value: unknown): string {
  return inspect(value, { depth: 0, maxStringLength: 100, breakLength: Infinity })
}
