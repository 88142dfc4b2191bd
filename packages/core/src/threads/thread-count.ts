import { availableParallelism } from 'node:os'
import { inspect } from 'node:util'

/** What `threads` says in a configuration or a service: a number, or one per processor. */
export type ThreadCount = number | 'auto'

/** Most threads of a server: one per processor is enough, and each takes 14 MiB. */
export const THREADS_MAX: number = 256

/** @throws {RangeError} If it is neither `'auto'` nor a whole number from 1 to {@link THREADS_MAX}. */
export function checkThreads(threads: unknown): ThreadCount {
  if (threads === 'auto') return threads
  if (Number.isSafeInteger(threads) && (threads as number) >= 1 && (threads as number) <= THREADS_MAX) {
    return threads as number
  }
  throw new RangeError(
    `Expected threads to be "auto" or a whole number from 1 to ${THREADS_MAX}, received ${inspect(threads)}`,
  )
}

/** The number of threads that `threads` stands for. */
export function resolveThreads(threads: ThreadCount): number {
  return threads === 'auto' ? Math.min(availableParallelism(), THREADS_MAX) : threads
}
