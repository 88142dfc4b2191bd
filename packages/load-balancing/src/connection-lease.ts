/** One of a backend's connections. Release it when the connection is closed. */
export class ConnectionLease {
  #onRelease: (() => void) | undefined

  /** @internal Leases come from a balancer. */
  constructor(onRelease: () => void) {
    this.#onRelease = onRelease
  }

  /** Gives the connection's place back. A second call does nothing. */
  release(): void {
    const onRelease = this.#onRelease
    this.#onRelease = undefined
    onRelease?.()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
