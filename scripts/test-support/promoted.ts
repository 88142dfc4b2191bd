import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const THINGS = 200_000
const LIVE_MAX = 64

/**
 * How many bytes of short-lived things become old, where each is added to something and soon removed: `add` adds one,
 * and returns how to remove it. Some 80 MB come and go, 64 things at a time; only quick collections run meanwhile,
 * unless so much becomes old that V8 has to collect that too.
 */
export function promotedBytes(add: (thing: object) => () => void): number {
  setFlagsFromString('--expose-gc')
  const collect: (options?: { type: 'minor' }) => void = runInNewContext('gc')
  const removals: (() => void)[] = []
  let promoted = 0
  // What is in use by now has to be old already: this is how a server is after a while.
  for (let i = 0; i < LIVE_MAX; i++) removals.push(add(thing()))
  collect()
  let before = oldBytes()
  for (let i = 0; i < THINGS; i++) {
    removals.push(add(thing()))
    removals.shift()?.()
    if (i % 20_000 !== 0) continue
    collect({ type: 'minor' })
    const now = oldBytes()
    promoted += Math.max(0, now - before)
    before = now
  }
  for (const remove of removals) remove()
  return promoted
}

function thing(): object {
  return { bytes: new Array(100).fill(0) }
}

function oldBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0
}
