import type { Service } from '@cirque/core'

/** Counts visits, and goes on where the process before it stopped. */
export class Visits implements Service {
  readonly name: string = 'visits'
  count = 0

  start(): void {}

  async drain(): Promise<void> {}

  destroy(): void {}

  exportState(): unknown {
    return { count: this.count }
  }

  /** The state may come from another version of this program, so it is looked at first. */
  importState(state: unknown): void {
    const count = (state as { count?: unknown } | null)?.count
    if (Number.isSafeInteger(count)) this.count = count as number
  }
}
