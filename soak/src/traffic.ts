import type { GatewayPorts } from './programs/gateway.ts'

/** Where traffic goes. */
export interface Place {
  readonly ports: GatewayPorts
}

/** A kind of traffic. */
export interface Kind {
  readonly name: string
  /** How often, in relation to the others. */
  readonly weight: number
  /** Does it once. Throws when anything is not as it must be; what is meant to fail is checked to fail. */
  run(place: Place): Promise<unknown>
}

/** What came of a kind. */
export interface Count {
  readonly name: string
  done: number
  failed: number
  /** Not begun, since as many as may were under way. */
  skipped: number
}

/** Throws unless the two are the same. */
export function expect(what: string, actual: unknown, expected: unknown): void {
  if (actual !== expected)
    throw new Error(`${what}: expected ${String(expected)}, received ${String(actual)}`)
}

const UNDERWAY_MAX = 16
const ERRORS_MAX = 200

/** Sends all kinds at a steady rate, each independent of how long it takes. */
export class Traffic {
  readonly counts: Count[] = []
  /** What went wrong, with how often; the first 200 different ones. */
  readonly errors: Map<string, number> = new Map()
  readonly #timers: NodeJS.Timeout[] = []
  readonly #underway: Set<Promise<void>> = new Set()

  /** @param perSecond - Over all kinds together. */
  begin(place: Place, kinds: readonly Kind[], perSecond: number): void {
    const weight = kinds.reduce((sum, kind) => sum + kind.weight, 0)
    for (const kind of kinds) {
      const count: Count = { name: kind.name, done: 0, failed: 0, skipped: 0 }
      this.counts.push(count)
      let underway = 0
      const once = (): void => {
        if (underway >= UNDERWAY_MAX) {
          count.skipped += 1
          return
        }
        underway += 1
        const work = this.#run(kind, place, count).finally(() => {
          underway -= 1
          this.#underway.delete(work)
        })
        this.#underway.add(work)
      }
      this.#timers.push(setInterval(once, (1_000 * weight) / (perSecond * kind.weight)))
    }
  }

  /** Begins nothing more, and waits until everything has ended. */
  async end(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#underway)
  }

  async #run(kind: Kind, place: Place, count: Count): Promise<void> {
    try {
      await kind.run(place)
      count.done += 1
    } catch (error) {
      count.failed += 1
      this.report(`${kind.name}: ${messageOf(error)}`)
    }
  }

  report(what: string): void {
    const known = this.errors.get(what)
    if (known !== undefined || this.errors.size < ERRORS_MAX) this.errors.set(what, (known ?? 0) + 1)
  }
}

function messageOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === undefined ? message : `${code} ${message}`
}
