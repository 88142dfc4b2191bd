/** Shortest beginning of a name that is taken for the name, in characters. */
const PREFIX_CHARACTERS_MIN = 4

/** Longest name that is looked at: nobody mistypes a longer one, and the distance is quadratic. */
const NAME_CHARACTERS_MAX = 64

/**
 * The one of `names` that `name` was probably meant to be: at most a third of its letters away, counting
 * insertions, deletions, substitutions and swapped neighbours; else one that begins with it, as `gracePeriod` is
 * the beginning of `gracePeriodSeconds`. `undefined` if none is near.
 */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  if (name.length > NAME_CHARACTERS_MAX) return undefined
  let nearest: string | undefined
  let least = Math.max(1, Math.floor(name.length / 3)) + 1
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance >= least) continue
    least = distance
    nearest = candidate
  }
  if (nearest !== undefined || name.length < PREFIX_CHARACTERS_MIN) return nearest
  return names.find((candidate) => candidate.toLowerCase().startsWith(name.toLowerCase()))
}

/** The end of a message about an unknown name: what was probably meant, or else all there is. */
export function nameHint(name: string, names: Iterable<string>): string {
  const known = [...names]
  const nearest = nearestName(name, known)
  return nearest === undefined ? `; known are ${known.join(', ')}` : `; did you mean "${nearest}"?`
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
