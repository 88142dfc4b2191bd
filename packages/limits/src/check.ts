/** Largest value that a 32-bit counter here takes; counts stop there instead of turning negative. */
export const COUNT_MAX: number = 2 ** 30

/** Refuses an option that nobody would read: a misspelt limit would be another limit than was meant. */
export function checkNames(options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`The options must be an object, received ${describe(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`Unknown option "${name}"; known are ${known.join(', ')}`)
  }
}

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

/** Throws a `TypeError` for what is not a function. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') {
    throw new TypeError(`${name} must be a function, received ${describe(value)}`)
  }
}

/** Refuses what cannot be listened to as an abort signal, before anything waits for it. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new TypeError(`signal must be an AbortSignal, received ${describe(signal)}`)
  }
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
