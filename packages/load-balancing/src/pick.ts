import type { Backend } from './backend.ts'
import type { Group, Member } from './member.ts'
import type { Picker, SelectionKey } from './selection/selection.ts'

/** Options of `select` and `acquire`. */
export interface SelectOptions {
  /**
   * Most proposals of the algorithm to look at in a priority group, repeats included; then its choice is none. From 1.
   * Default: no limit; every backend is considered, so one that can serve is found if there is one.
   */
  readonly maxIterations?: number
  /**
   * Decides instead of the balancer: called with each backend at most once, in the order of preference, and whether
   * the balancer would take it. True takes it. Use it to pass over what a retry has already tried. Must not call
   * `select` or `acquire` of the same balancer.
   */
  readonly accept?: (backend: Backend, eligible: boolean) => boolean
}

/** Proposals looked at before the rest is scanned in order: keeps a choice cheap when nearly all are down. */
const PROPOSALS_MAX = 128

/** Walks the groups in order of priority; a group in panic stands behind all that are not. */
export class Walk {
  #generation = 0
  readonly #passesRamp: (member: Member) => boolean

  constructor(passesRamp: (member: Member) => boolean) {
    this.#passesRamp = passesRamp
  }

  pick(
    groups: readonly Group[],
    key: SelectionKey | undefined,
    options: SelectOptions | undefined,
  ): Member | undefined {
    const accept = options?.accept
    const stepsMax = options?.maxIterations
    const panic = groups.length > 1 && groups.some((group) => group.panicking)
    for (const group of groups) {
      if (panic && group.panicking) continue
      const member = this.#walk(group, key, accept, stepsMax)
      if (member !== undefined) return member
    }
    if (!panic) return undefined
    for (const group of groups) {
      if (!group.panicking) continue
      const member = this.#walk(group, key, accept, stepsMax)
      if (member !== undefined) return member
    }
    return undefined
  }

  #walk(
    group: Group,
    key: SelectionKey | undefined,
    accept: SelectOptions['accept'],
    stepsMax: number | undefined,
  ): Member | undefined {
    const { members } = group
    if (group.eligibleCount === 0 && accept === undefined) return undefined
    const picker = group.picker as Picker
    const generation = ++this.#generation
    let reserve: Member | undefined
    let seenCount = 0
    let index = picker.begin(key)
    let last = 0
    for (let steps = stepsMax ?? Math.min(PROPOSALS_MAX, members.length * 2 + 16); index >= 0; ) {
      const member = members[index]
      if (member === undefined) break // a picker of the user's that counts wrong
      last = index
      if (member.stamp !== generation) {
        member.stamp = generation
        seenCount++
        if (accept === undefined ? member.eligible : accept(member.backend, member.eligible)) {
          if (member.rampStart < 0 || this.#passesRamp(member)) return member
          reserve ??= member
        }
      }
      if (--steps <= 0 || seenCount === members.length) break
      index = picker.next()
    }
    if (reserve !== undefined || stepsMax !== undefined) return reserve
    return seenCount === members.length ? undefined : this.#scan(members, last, accept)
  }

  /** Offers what was not proposed, in the order of the set from where the walk stood. */
  #scan(members: readonly Member[], start: number, accept: SelectOptions['accept']): Member | undefined {
    const generation = this.#generation
    for (let offset = 0; offset < members.length; offset++) {
      const index = start + offset
      const member = members[index < members.length ? index : index - members.length] as Member
      if (member.stamp === generation) continue
      if (accept === undefined ? member.eligible : accept(member.backend, member.eligible)) return member
    }
    return undefined
  }
}
