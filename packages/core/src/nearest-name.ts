/**
 * The one of `names` that `name` was probably meant to be: at most a third of its letters away, counting
 * insertions, deletions, substitutions and swapped neighbours. `undefined` if none is near.
 */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  if (name.length > 64) return undefined // nobody's typing mistake, and the distance is quadratic
  let nearest: string | undefined
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance >= least) continue
    least = distance
    nearest = candidate
  }
  return nearest
}

/** Optimal string alignment distance, three rows at a time. */
function editDistance(a: string, b: string): number {
  let twoAbove: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const isSame = a[row - 1] === b[column - 1]
      let cost = Math.min(
        at(above, column) + 1,
        at(current, column - 1) + 1,
        at(above, column - 1) + (isSame ? 0 : 1),
      )
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, at(twoAbove, column - 2) + 1)
      }
      current.push(cost)
    }
    twoAbove = above
    above = current
  }
  return at(above, b.length)
}

function at(row: number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY
}
