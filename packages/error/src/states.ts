import { type Channel, channel } from 'node:diagnostics_channel'
import { ProxyError } from './proxy-error.ts'

/** One state of a {@link States}: what it is called, and what may follow it. */
export interface StateMoves<State extends number> {
  readonly name: string
  readonly to: readonly State[]
}

/** What is published on the channel `cirque:invariant`, once for each broken invariant. */
export interface InvariantMessage {
  /** Whose states they are, such as `'proxied exchange'`. */
  readonly machine: string
  /** The state that it was in. */
  readonly from: string
  /** The state that it was told to take. */
  readonly to: string
  readonly error: ProxyError
}

const invariantChannel: Channel = channel('cirque:invariant')

/** A mask of 31 bits is a small integer, which costs no memory. */
const STATES_MAX = 31

let brokenCount = 0

/** How many invariants were broken in this thread so far. More than 0 is a defect of ours: report it. */
export function brokenInvariants(): number {
  return brokenCount
}

/**
 * The states of one kind of thing, and which may follow which: one table for all things of that kind. The states are
 * the integers from 0 on, so that asking is one look-up and one bit.
 *
 * A thing asks before each move, and ends itself with what {@link States.broken} gives when the answer is no.
 *
 * @example
 * const OPEN = 0
 * const CLOSED = 1
 * type DoorState = typeof OPEN | typeof CLOSED
 * const DOOR = new States<DoorState>('door', [
 *   { name: 'open', to: [CLOSED] },
 *   { name: 'closed', to: [] },
 * ])
 * DOOR.allows(CLOSED, OPEN) // false
 */
export class States<State extends number> {
  /** What a thing of this kind is called. */
  readonly machine: string
  /** The states' names, in the order of their numbers. */
  readonly names: readonly string[]
  readonly #moves: readonly number[]

  /**
   * @param machine - What a thing of this kind is called in errors.
   * @param states - One entry for each state, in the order of their numbers.
   * @throws {RangeError} If there are more than 31 states, or one leads to a number that is none.
   */
  constructor(machine: string, states: readonly StateMoves<State>[]) {
    if (states.length > STATES_MAX) {
      throw new RangeError(`A ${machine} may have ${STATES_MAX} states, received ${states.length}`)
    }
    this.machine = machine
    this.names = states.map(({ name }) => name)
    this.#moves = states.map(({ name, to }) =>
      to.reduce((mask: number, state) => {
        if (!Number.isInteger(state) || state < 0 || state >= states.length)
          throw new RangeError(`State "${name}" of a ${machine} leads to ${state}, which is none`)
        return mask | (1 << state)
      }, 0),
    )
  }

  /** Whether `to` may follow `from`. Cheap enough for each request. */
  allows(from: State, to: State): boolean {
    return (((this.#moves[from] as number) >> to) & 1) === 1
  }

  /**
   * A thing was told to make a move that does not exist: counts it, publishes it on `cirque:invariant`, and gives the
   * error to end the thing with.
   *
   * @returns An error of the code `INVARIANT_BROKEN`, which is never retried.
   */
  broken(from: State, to: State): ProxyError {
    brokenCount++
    const { machine } = this
    const [fromName, toName] = [this.names[from] ?? String(from), this.names[to] ?? String(to)]
    const error = new ProxyError(
      'INVARIANT_BROKEN',
      'internal',
      `The state of a ${machine} cannot go from "${fromName}" to "${toName}"`,
    )
    if (invariantChannel.hasSubscribers) {
      invariantChannel.publish({ machine, from: fromName, to: toName, error } satisfies InvariantMessage)
    }
    return error
  }
}
