import fc from 'fast-check'
import { CORPUS_INPUT_BYTES_MAX } from './corpus.ts'
import type { Coverage } from './coverage.ts'
import { minimize } from './minimize.ts'
import { mutate } from './mutate.ts'
import { Random } from './random.ts'
import type { Target } from './target.ts'
import type { Watchdog } from './watchdog.ts'

/** An input that breaks what must be true, made small. */
interface Finding {
  readonly input: Buffer
  readonly error: Error
}

/** What {@link fuzz} takes. */
export interface FuzzOptions {
  readonly seconds: number
  readonly seed: number
  /** Inputs of earlier runs. */
  readonly corpus: readonly Buffer[]
  readonly watchdog?: Watchdog
  /** The run ends after so many findings of different kinds. Default 10. */
  readonly findingsMax?: number
  /** Called about every ten seconds. */
  readonly onProgress?: (report: FuzzReport) => void
}

/** What a run came to. */
export interface FuzzReport {
  readonly runs: number
  readonly seconds: number
  /** Counters of the instrumented code that were reached. */
  readonly reached: number
  /** Inputs, each of which reached something that none before it did. */
  readonly corpus: readonly Buffer[]
  readonly findings: readonly Finding[]
}

const INPUT_BYTES_MAX = 4_096
const FINDINGS_MAX_DEFAULT = 10
const TRIM_TRIES = 64
/** One input in so many is made from the format, not from another input. */
const FRESH_ONE_IN = 16
/** The event loop gets a turn after so many runs: what targets close has to end. */
const TURN_RUNS = 64
const PROGRESS_MS = 10_000

/**
 * Looks for inputs that make `target` throw: changes inputs of the corpus, and keeps each that reaches code, or
 * a count of rounds, that none before it has reached. The same seed gives the same inputs for as long as the time allows.
 */
export async function fuzz(target: Target, coverage: Coverage, options: FuzzOptions): Promise<FuzzReport> {
  const random = new Random(options.seed)
  const fresh = generator(target, options.seed)
  const findingsMax = options.findingsMax ?? FINDINGS_MAX_DEFAULT
  const bytesMax = target.bytesMax ?? INPUT_BYTES_MAX
  const run = new FuzzRun(target, coverage, options.watchdog)
  const { corpus, findings, startedAt } = run
  coverage.reset()
  for (const seed of [...options.corpus, ...target.seeds]) {
    await run.take(Buffer.from(seed as string, 'latin1').subarray(0, bytesMax), false)
  }
  if (corpus.length === 0) corpus.push(Buffer.alloc(0))
  const words = [...coverage.literals, ...(target.words ?? [])]
  const material = {
    dictionary: [...new Set(words)].map((word) => Buffer.from(word, 'latin1')),
    other: () => random.pick(corpus),
    bytesMax,
  }
  const until = startedAt + options.seconds * 1_000
  let progressAt = startedAt + PROGRESS_MS
  for (let round = 0; performance.now() < until && findings.size < findingsMax; round += 1) {
    if (round % FRESH_ONE_IN === 0) await run.take(fresh().subarray(0, bytesMax), true)
    else await run.take(mutate(choose(corpus, random), random, material), true)
    if (round % TURN_RUNS !== 0) continue
    await new Promise((resolve) => setImmediate(resolve))
    if (performance.now() < progressAt) continue
    progressAt += PROGRESS_MS
    options.onProgress?.(run.report())
  }
  return run.report()
}

/** What one run has found so far. */
class FuzzRun {
  readonly corpus: Buffer[] = []
  readonly findings: Map<string, Finding> = new Map()
  readonly startedAt: number = performance.now()
  readonly #target: Target
  readonly #coverage: Coverage
  readonly #watchdog: Watchdog | undefined
  #runs = 0

  constructor(target: Target, coverage: Coverage, watchdog: Watchdog | undefined) {
    this.#target = target
    this.#coverage = coverage
    this.#watchdog = watchdog
  }

  /** Runs an input, and keeps it or what is wrong with it. What was kept before is short already. */
  async take(input: Buffer, shorten: boolean): Promise<void> {
    const error = await this.#attempt(input)
    if (error !== undefined) {
      await this.#keepFinding(input, error)
      return
    }
    const coverage = this.#coverage
    const news = coverage.news()
    if (news.length === 0) return
    const small = await minimize(
      input,
      async (candidate) => {
        if ((await this.#attempt(candidate)) !== undefined) return false
        const reached = new Set(coverage.news())
        return news.every((each) => reached.has(each))
      },
      shorten ? (input.length > CORPUS_INPUT_BYTES_MAX ? 4 * TRIM_TRIES : TRIM_TRIES) : 0,
    )
    // Also what a second run does not reach, since something was kept meanwhile: or it would be news for ever.
    coverage.remember(news)
    this.corpus.push(small)
  }

  report(): FuzzReport {
    return {
      runs: this.#runs,
      seconds: (performance.now() - this.startedAt) / 1_000,
      reached: this.#coverage.reached,
      corpus: this.corpus,
      findings: [...this.findings.values()],
    }
  }

  async #keepFinding(input: Buffer, error: Error): Promise<void> {
    const kind = kindOf(error)
    if (this.findings.has(kind)) return
    const small = await minimize(input, async (candidate) => {
      const other = await this.#attempt(candidate)
      return other !== undefined && kindOf(other) === kind
    })
    this.findings.set(kind, { input: small, error: (await this.#attempt(small)) ?? error })
  }

  async #attempt(input: Buffer): Promise<Error | undefined> {
    this.#runs += 1
    this.#coverage.begin()
    this.#watchdog?.begin(input)
    try {
      const pending = this.#target.run(input)
      if (pending !== undefined) await pending
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    } finally {
      this.#watchdog?.end()
    }
    return undefined
  }
}

/** As few and as short of `inputs` as still reach what all of them reach. */
export async function distill(
  target: Target,
  coverage: Coverage,
  inputs: readonly Buffer[],
): Promise<Buffer[]> {
  const kept: Buffer[] = []
  coverage.reset()
  for (const input of [...inputs].sort((a, b) => a.length - b.length)) {
    coverage.begin()
    await target.run(input)
    const news = coverage.news()
    if (news.length === 0) continue
    coverage.remember(news)
    kept.push(input)
  }
  return kept
}

/** The newer half of the corpus gets half of the turns: what was found last leads on. */
function choose(corpus: readonly Buffer[], random: Random): Buffer {
  if (random.below(2) === 0) return random.pick(corpus)
  const half = corpus.length >> 1
  return corpus[half + random.below(corpus.length - half)] as Buffer
}

/** Two errors are of one kind when they say the same, numbers and quotations aside. */
function kindOf(error: Error): string {
  const message = error.message.split('\n', 1)[0] ?? ''
  return `${error.name}: ${message.replace(/"(?:[^"\\]|\\.)*"|\d+/g, '#')}`
}

/** An endless source of inputs of the format. */
function generator(target: Target, seed: number): () => Buffer {
  let batch: Buffer[] = []
  let batches = 0
  return () => {
    if (batch.length === 0) batch = fc.sample(target.inputs, { seed: seed + batches++, numRuns: 32 })
    return batch.pop() as Buffer
  }
}
