/** Refuses what is not an integer in the range. */
export function checkInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be an integer from ${least} to ${most}, received ${String(value)}`)
  }
}

/** Refuses what is not a duration in milliseconds: a number from 0, `Infinity` included. */
export function checkDurationMs(name: string, value: number): void {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw new RangeError(`${name} must be a number of milliseconds from 0, received ${String(value)}`)
  }
}

/** Refuses what is neither a function nor `undefined`. */
export function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') {
    throw new TypeError(`${name} must be a function, received ${String(value)}`)
  }
}

/**
 * Refuses an option that no field has: one of another cache, such as `max` or `ttl`, would otherwise be ignored, and
 * the cache be larger or older than was meant.
 */
export function checkNames(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`The options must be an object, received ${String(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`Unknown option "${name}"; known are ${known.join(', ')}`)
  }
}
