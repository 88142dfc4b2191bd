import { type FSWatcher, watch } from 'node:fs'
import { dirname } from 'node:path'

/** Files are written one after the other; looking at once would find the new certificate beside the old key. */
const SETTLE_MS: number = 200

/**
 * Calls `check` soon after something changed in the folders of some files, and every `pollMs` besides: network file
 * systems tell nothing. Folders rather than files, since files are replaced by renaming, and by links to folders that
 * are renamed. One check runs at a time. Does not keep the process alive.
 */
export class FileWatch {
  readonly #check: () => Promise<void>
  readonly #watchers: FSWatcher[] = []
  readonly #poll: NodeJS.Timeout
  #settling: NodeJS.Timeout | undefined
  #isChecking = false
  #isStale = false
  #isClosed = false

  constructor(paths: readonly string[], pollMs: number, check: () => Promise<void>) {
    this.#check = check
    for (const folder of new Set(paths.map((path) => dirname(path)))) this.#watch(folder)
    this.#poll = setInterval(() => this.#run(), pollMs).unref()
    this.#run() // what changed since the files were read first
  }

  /** Checks soon. */
  lookAgain(): void {
    if (this.#isClosed) return
    this.#settling ??= setTimeout(() => {
      this.#settling = undefined
      this.#run()
    }, SETTLE_MS).unref()
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#poll)
    clearTimeout(this.#settling)
    for (const watcher of this.#watchers) watcher.close()
  }

  /** A folder that cannot be watched (too many watches, no such system call) is still polled. */
  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.lookAgain())
      watcher.on('error', () => watcher.close())
      this.#watchers.push(watcher)
    } catch {
      // Polled.
    }
  }

  #run(): void {
    this.#isStale = true
    if (this.#isChecking) return
    this.#isChecking = true
    void this.#checkWhileStale()
  }

  async #checkWhileStale(): Promise<void> {
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false
      await this.#check()
    }
    this.#isChecking = false
  }
}
