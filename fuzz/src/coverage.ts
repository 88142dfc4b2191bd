import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { instrument } from './instrument.ts'

declare global {
  var __fuzzHits: Uint32Array
}

const COUNTERS_MAX = 65_536
const PACKAGES: string = fileURLToPath(new URL('../../packages/', import.meta.url))

/**
 * Which parts of the code under test a run has reached, and how often, in the classes 1, 2, 3, 4 to 7, 8 to 15,
 * 16 to 31, 32 to 127, and more: a loop that runs once more is news, the 101st time after the 100th is none.
 */
export class Coverage {
  /** Strings that the instrumented code holds. */
  readonly literals: Set<string> = new Set()
  readonly #hits: Uint32Array = new Uint32Array(COUNTERS_MAX)
  /** A bit for each class of each counter that a kept input has reached. */
  #known: Uint8Array = new Uint8Array(COUNTERS_MAX)
  #counters: number = 0

  constructor() {
    globalThis.__fuzzHits = this.#hits
  }

  /** Instruments the sources below `packages/` that `folders` name, from now on, as they are imported. */
  install(folders: readonly string[]): void {
    registerHooks({
      load: (url, context, nextLoad) => {
        if (!url.startsWith('file:') || !url.endsWith('.ts')) return nextLoad(url, context)
        const path = fileURLToPath(url)
        if (!folders.some((folder) => path.startsWith(PACKAGES + folder))) return nextLoad(url, context)
        return { format: 'module', source: this.instrument(readFileSync(path, 'utf8')), shortCircuit: true }
      },
    })
  }

  /** The code of a module with counters that are counted here. */
  instrument(source: string): string {
    const { code, counters, literals } = instrument(source, this.#counters)
    this.#counters += counters
    if (this.#counters > COUNTERS_MAX) throw new Error(`More than ${COUNTERS_MAX} counters are needed`)
    for (const literal of literals) this.literals.add(literal)
    return code
  }

  /** Forgets the last run. */
  begin(): void {
    this.#hits.fill(0, 0, this.#counters)
  }

  /** Forgets all runs: the next target is another one. */
  reset(): void {
    this.#known = new Uint8Array(COUNTERS_MAX)
  }

  /** The counters, each with its class, that the last run has reached first: `remember` takes them. */
  news(): number[] {
    const news: number[] = []
    for (let index = 0; index < this.#counters; index += 1) {
      const hits = this.#hits[index] as number
      if (hits === 0) continue
      const bit = classOf(hits)
      if (((this.#known[index] as number) & bit) === 0) news.push(index * 256 + bit)
    }
    return news
  }

  remember(news: readonly number[]): void {
    for (const each of news) {
      const index = each >>> 8
      this.#known[index] = (this.#known[index] as number) | (each & 255)
    }
  }

  /** Counters that some kept input has reached. */
  get reached(): number {
    let reached = 0
    for (let index = 0; index < this.#counters; index += 1) if (this.#known[index] !== 0) reached += 1
    return reached
  }
}

function classOf(hits: number): number {
  if (hits < 4) return 1 << (hits - 1)
  if (hits < 8) return 8
  if (hits < 16) return 16
  if (hits < 32) return 32
  return hits < 128 ? 64 : 128
}
