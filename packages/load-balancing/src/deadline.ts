/**
 * Runs `work` until it settles, `signal` is aborted or `timeoutMs` have passed, whichever comes first. In the last two
 * cases the signal that `work` got is aborted, and what it does later is ignored.
 *
 * `AbortSignal.any` and `AbortSignal.timeout` would do the same, and leave something behind on a long-lived signal.
 */
export async function withDeadline<T>(
  signal: AbortSignal,
  timeoutMs: number,
  lateMessage: string,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const controller = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  // Where `work` throws at once, nobody waits for this one.
  ended.catch(() => {})
  controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true })
  const onAbort = () => controller.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => controller.abort(new Error(lateMessage)), timeoutMs)
  try {
    return await Promise.race([work(controller.signal), ended])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
