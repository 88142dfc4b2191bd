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
