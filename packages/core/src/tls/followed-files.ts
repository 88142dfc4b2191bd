import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { FileWatch } from './file-watch.ts'

/** Files that are used together: what they hold next is taken as a whole, or not at all. */
export interface FollowedGroup {
  readonly paths: readonly string[]
  /** {@link digestOf} what is in use at first. */
  readonly digest: string
  /** Uses what the files hold now, in the order of `paths`. A throw changes nothing, and is told to `reject`. */
  take(contents: readonly Buffer[]): void
  /** The files hold something that cannot be used, or cannot be read. Called once for each such state. */
  reject(error: Error): void
}

interface Follower {
  readonly group: FollowedGroup
  /** Digests of what the files held, or the error of reading them: what is in use, was judged last, was odd once. */
  usedState: string
  seenState: string
  doubtedState: string
}

/** Reads groups of files again whenever they change. Each group stands for itself. */
export class FollowedFiles {
  readonly #followers: readonly Follower[]
  readonly #watch: FileWatch | undefined

  /** @param reloadMs - How often to look besides being told, see {@link FileWatch}; 0 never looks at all. */
  constructor(groups: readonly FollowedGroup[], reloadMs: number) {
    this.#followers = (reloadMs === 0 ? [] : groups).map((group) => {
      return { group, usedState: group.digest, seenState: group.digest, doubtedState: '' }
    })
    const paths = this.#followers.flatMap(({ group }) => group.paths)
    this.#watch = paths.length === 0 ? undefined : new FileWatch(paths, reloadMs, () => this.#check())
  }

  /** Looks no longer. */
  close(): void {
    this.#watch?.close()
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    for (const follower of this.#followers) await this.#checkOne(follower)
  }

  async #checkOne(follower: Follower): Promise<void> {
    const { group } = follower
    let state = ''
    try {
      const contents = await Promise.all(group.paths.map((path) => readFile(path)))
      state = digestOf(contents)
      if (state !== follower.usedState && state !== follower.seenState) {
        group.take(contents)
        follower.usedState = state
      }
      follower.seenState = state
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      this.#doubt(follower, state === '' ? error.message : state, error)
    }
  }

  /** Between the writing of two files there is nothing wrong yet: what is wrong is so when it is looked at again. */
  #doubt(follower: Follower, state: string, error: Error): void {
    if (state === follower.seenState) return // told already
    if (state === follower.doubtedState) {
      follower.seenState = state
      follower.group.reject(error)
    } else {
      follower.doubtedState = state
      this.#watch?.lookAgain()
    }
  }
}

/** Tells contents apart, without keeping them. */
export function digestOf(contents: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256')
  for (const part of contents) hash.update(createHash('sha256').update(part).digest())
  return hash.digest('base64url')
}
