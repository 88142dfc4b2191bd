/**
 * A body up to this many bytes is copied into the text that carries its head, so that both leave in one
 * write. Node writes a latin1 string of up to 16 KiB from the stack (bench/response-write.bench.ts).
 */
export const TEXT_BODY_BYTES_MAX = 15_360

/** Renders a flat list of trailer fields. */
export function trailersToWire(trailers: readonly string[]): string {
  let text = ''
  for (let i = 0; i + 1 < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`
  return text
}
