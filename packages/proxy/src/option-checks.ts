import { inspect } from 'node:util'

/** Throws for what holds no options, though `Object.keys` finds no fault with it: a number, an array, a function. */
export function requireOptions(options: object, where: string): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new TypeError(`Expected the options of ${where} to be an object, received ${inspect(options)}`)
}
