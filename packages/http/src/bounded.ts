/** An integer option within its bounds, or a `RangeError`. */
export function bounded(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, received ${String(value)}`)
  }
  return value
}
