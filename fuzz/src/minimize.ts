/**
 * A small part of `input` for which `holds` is still true: takes ever smaller pieces out, then makes what remains
 * plain.
 *
 * @param tries - Bound of the calls of `holds`.
 */
export async function minimize(
  input: Buffer,
  holds: (candidate: Buffer) => boolean | Promise<boolean>,
  tries: number = 2_000,
): Promise<Buffer> {
  let best = input
  let left = tries
  for (let size = best.length >> 1; size >= 1 && left > 0; size >>= 1) {
    for (let at = 0; at < best.length && left > 0; left -= 1) {
      const candidate = Buffer.concat([best.subarray(0, at), best.subarray(at + size)])
      if (await holds(candidate)) best = candidate
      else at += size
    }
  }
  for (let at = 0; at < best.length && left > 0; at += 1, left -= 1) {
    if (best[at] === 0x61) continue
    const candidate = Buffer.from(best)
    candidate[at] = 0x61
    if (await holds(candidate)) best = candidate
  }
  return best
}
