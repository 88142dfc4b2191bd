import { createConfiguration, type Logger, type ServiceContext } from '@cirque/core'

/** A context for a service without a server. */
export function serviceContext(logger: Logger): ServiceContext {
  return { configuration: createConfiguration(), logger, shutdown: new AbortController().signal }
}

/** How long a condition may take to come true: a deadline for what has gone wrong, not a wait. */
const DEADLINE_MS = 15_000

/** Waits until `condition` holds, turn by turn of the event loop. */
export async function until(condition: () => boolean, complaint: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`After ${DEADLINE_MS} ms: ${complaint}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** A promise to be settled from outside. */
export interface Gate<T = void> {
  readonly promise: Promise<T>
  open(value: T): void
  fail(error: unknown): void
}

export function gate<T = void>(): Gate<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  promise.catch(() => undefined)
  return { promise, open: resolve, fail: reject }
}
