import type { DestinationStats, LogDestination } from '../../src/index.ts'

/** A destination that keeps its lines. */
export class Lines implements LogDestination {
  readonly lines: string[] = []
  accepts = true
  reopened = 0
  closeCount = 0

  write(line: string): boolean {
    if (this.accepts) this.lines.push(line)
    return this.accepts
  }
  async reopen(): Promise<void> {
    this.reopened++
  }
  async close(): Promise<void> {
    this.closeCount++
  }
  destroy(): void {
    this.closeCount++
  }
  stats(): DestinationStats {
    return { writtenCount: this.lines.length, droppedCount: this.accepts ? 0 : 1, waitingBytes: 0 }
  }
}
