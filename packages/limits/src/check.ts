/** Largest value that a 32-bit counter here takes; counts stop there instead of turning negative. */
export const COUNT_MAX: number = 2 ** 30

/** Returns `value` if it is an integer within the bounds, or throws a `RangeError` naming it. */
export function checkInteger(name: string, value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, received ${describe(value)}`)
  }
  return value
}

/** As `checkInteger`, and the value must be a power of two. */
export function checkPowerOfTwo(name: string, value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max || !Number.isInteger(Math.log2(value))) {
    throw new RangeError(`${name} must be a power of two from ${min} to ${max}, received ${describe(value)}`)
  }
  return value
}

/** Returns `value` if it is a number within the bounds, or throws a `RangeError` naming it. */
export function checkNumber(name: string, value: number, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new RangeError(`${name} must be a number from ${min} to ${max}, received ${describe(value)}`)
  }
  return value
}

/** Refuses a number of events or units that is no non-negative integer. Runs per request, hence no message work. */
export function checkCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${name} must be an integer from 0, received ${describe(value)}`)
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
