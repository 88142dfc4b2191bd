import { inspect } from 'node:util'

/** @throws {RangeError} Unless `value` is an integer within its bounds. */
export function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`${name} must be an integer from ${least} to ${most}, received ${inspect(value)}`)
}

/** @throws {TypeError} For an option that nobody would read. */
export function rejectUnknown(options: object, names: readonly string[], where: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`The options of ${where} must be an object, received ${inspect(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new TypeError(`Unknown option "${name}" of ${where}`)
  }
}
