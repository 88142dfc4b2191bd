/** What a destination has done with its lines. */
export interface DestinationStats {
  /** Lines handed to the system. */
  readonly writtenCount: number
  /** Lines given up: the buffer was full, a write failed, or the destination was closed. */
  readonly droppedCount: number
  /** Bytes that wait or are being written. */
  readonly waitingBytes: number
}

/** Where lines of an access log go. It buffers, never blocks and never throws. */
export interface LogDestination {
  /**
   * Takes a line, without its line break. Called once per logged request.
   *
   * @returns False when it was dropped.
   */
  write(line: string): boolean
  /** Opens again what it writes to, such as a file that was renamed meanwhile. Nothing is lost. */
  reopen(): Promise<void>
  /** Resolves when what waits is written, and releases everything. Later lines are dropped. */
  close(): Promise<void>
  /** Releases everything now; what waits is dropped. */
  destroy(): void
  stats(): DestinationStats
}
