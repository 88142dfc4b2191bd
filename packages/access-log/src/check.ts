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
    if (!names.includes(name))
      throw new TypeError(`Unknown option "${name}" of ${where}${suggest(name, names)}`)
  }
}

/** ` (did you mean "…"?)`, or nothing when no name is near. */
export function suggest(name: string, names: Iterable<string>): string {
  if (name.length > 64) return ''
  let nearest = ''
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of names) {
    const distance = editDistance(name, candidate)
    if (distance >= least) continue
    least = distance
    nearest = candidate
  }
  return nearest === '' ? '' : ` (did you mean "${nearest}"?)`
}

/** How many insertions, deletions and substitutions make one of the other. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substituted = (above[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1)
      const shifted = Math.min(above[column] as number, current[column - 1] as number) + 1
      current.push(Math.min(substituted, shifted))
    }
    above = current
  }
  return above[b.length] as number
}
