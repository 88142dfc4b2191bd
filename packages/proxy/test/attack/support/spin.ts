/** Asked for instead of an attack: to keep the machine busy, and nobody else. */
export const BUSY = 'busy'

/** Takes all the CPU time that the system gives this process, and touches nobody. Returns what ends it. */
export function spin(): () => void {
  let immediate = setImmediate(function work() {
    const until = performance.now() + 5
    while (performance.now() < until) {
      // Nothing but time.
    }
    immediate = setImmediate(work)
  })
  return () => clearImmediate(immediate)
}
