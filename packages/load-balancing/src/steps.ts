/** Work in small steps: each `yield` is a place where the event loop may run something else. */
export type Steps<T> = Generator<void, T, void>

/** How long a sliced piece of work may hold the event loop at a time. */
const SLICE_MS = 2

/** Does all steps now. */
export function runAtOnce<T>(steps: Steps<T>): T {
  let step = steps.next()
  while (step.done !== true) step = steps.next()
  return step.value
}

/** Does the steps and lets the event loop run every 2 ms. Rejects with the signal's reason once it is aborted. */
export async function runInSlices<T>(steps: Steps<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let pauseAt = performance.now() + SLICE_MS
  let step = steps.next()
  while (step.done !== true) {
    if (performance.now() >= pauseAt) {
      await letOthersRun()
      signal.throwIfAborted()
      pauseAt = performance.now() + SLICE_MS
    }
    step = steps.next()
  }
  return step.value
}

/** One round of the event loop. */
export function letOthersRun(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Items handled between two yields. */
export const STEP_ITEMS: number = 256

/** A stable merge sort in steps. `keys` are compared; returns the positions in sorted order. */
export function* sortedPositions(keys: readonly string[]): Steps<Uint32Array> {
  const count = keys.length
  let from = new Uint32Array(count)
  let to = new Uint32Array(count)
  for (let start = 0; start < count; start += STEP_ITEMS) {
    const run = from.subarray(start, Math.min(start + STEP_ITEMS, count))
    for (let offset = 0; offset < run.length; offset++) run[offset] = start + offset
    run.sort((a, b) => order(keys, a, b))
    yield
  }
  for (let width = STEP_ITEMS; width < count; width *= 2) {
    for (let start = 0; start < count; start += width * 2) {
      yield* merge(keys, from, to, start, Math.min(start + width, count), Math.min(start + width * 2, count))
    }
    const swap = from
    from = to
    to = swap
  }
  return from
}

function* merge(
  keys: readonly string[],
  from: Uint32Array,
  to: Uint32Array,
  start: number,
  middle: number,
  end: number,
): Steps<void> {
  let left = start
  let right = middle
  for (let target = start; target < end; target++) {
    const takeLeft =
      left < middle && (right >= end || order(keys, from[left] as number, from[right] as number) <= 0)
    to[target] = from[takeLeft ? left++ : right++] as number
    if ((target - start) % STEP_ITEMS === STEP_ITEMS - 1) yield
  }
}

function order(keys: readonly string[], a: number, b: number): number {
  const left = keys[a] as string
  const right = keys[b] as string
  return left < right ? -1 : left > right ? 1 : a - b
}
