/** How a server ends: after its work, or at once. */
export type ShutdownKind = 'graceful' | 'fast'

/** 0 serve; 1 finish the work; 2 cut it and clean up; 3 do not even wait for cleanups. */
export type UrgencyLevel = 0 | 1 | 2 | 3

/** How much a server is in a hurry to end. It only ever rises. */
export class Urgency {
  #level: UrgencyLevel = 0
  readonly #reached: readonly PromiseWithResolvers<void>[] = [1, 2, 3].map(() => Promise.withResolvers())

  get level(): UrgencyLevel {
    return this.#level
  }

  raise(level: UrgencyLevel): void {
    while (this.#level < level) {
      this.#reached[this.#level]?.resolve()
      this.#level = (this.#level + 1) as UrgencyLevel
    }
  }

  /** Resolves when the level is reached. */
  reached(level: 1 | 2 | 3): Promise<void> {
    return this.#reached[level - 1]?.promise ?? Promise.resolve()
  }
}

/** Waits for `work`, for `interrupt`, or for `ms`, whichever is first. Returns true if the work was done. */
export async function waitFor(
  work: Promise<unknown>,
  interrupt: Promise<void>,
  ms: number,
): Promise<boolean> {
  const { promise: elapsed, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, ms, false)
  try {
    return await Promise.race([work.then(() => true), interrupt.then(() => false), elapsed])
  } finally {
    clearTimeout(timer)
  }
}
