/** A straight line through points, and how sure its slope is. */
export interface Line {
  /** Change over the whole of the points. */
  readonly growth: number
  /** Half the width of the 95 % confidence interval of `growth`. */
  readonly uncertainty: number
  readonly mean: number
}

/** Neighbouring samples are alike; means over so many stretches are nearly independent. */
const STRETCHES = 20
/** Two-sided 95 % points of Student's t, from 1 degree of freedom on; beyond them 2.1 is more than enough. */
const T95 = [
  12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11,
]

/**
 * Least squares through the means of up to 20 stretches of `values`, taken at even times.
 *
 * @param values - At least 4.
 */
export function fitLine(values: readonly number[]): Line {
  const points = stretches(values)
  const count = points.length
  if (count < 4) throw new RangeError(`A line needs 4 points, received ${count}`)
  const middle = (count - 1) / 2
  const mean = points.reduce((sum, value) => sum + value, 0) / count
  let square = 0
  let product = 0
  for (const [index, value] of points.entries()) {
    square += (index - middle) ** 2
    product += (index - middle) * (value - mean)
  }
  const slope = product / square
  let residual = 0
  for (const [index, value] of points.entries()) residual += (value - mean - slope * (index - middle)) ** 2
  const freedom = count - 2
  const error = Math.sqrt(residual / freedom / square)
  const span = count - 1
  return { growth: slope * span, uncertainty: (T95[freedom - 1] ?? 2.1) * error * span, mean }
}

function stretches(values: readonly number[]): number[] {
  if (values.length <= STRETCHES) return [...values]
  return Array.from({ length: STRETCHES }, (_, index) => {
    const part = values.slice(
      Math.floor((index * values.length) / STRETCHES),
      Math.floor(((index + 1) * values.length) / STRETCHES),
    )
    return part.reduce((sum, value) => sum + value, 0) / part.length
  })
}

/** The value below which `share` of the values lie; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}
