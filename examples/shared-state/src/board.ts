import type { HttpSession, SharedState, SharedValue } from '@cirque/core'

/**
 * A notice board that N threads serve as one. It shows the three ways to share: memory for what is counted with every
 * request, a value for what the main thread decides and all read, questions for what is seldom asked.
 */
export class Board {
  readonly #shared: SharedState
  readonly #visits: BigInt64Array
  readonly #headline: SharedValue<string>
  #ownVisits = 0

  /** The same in every thread: names stand for the same things. */
  constructor(shared: SharedState) {
    this.#shared = shared
    this.#visits = new BigInt64Array(shared.buffer('visits', 8))
    this.#headline = shared.value('headline')
    // In a worker the main thread asks this; in the main thread, the workers.
    if (shared.thread > 0) shared.answer('own visits', () => this.#ownVisits)
    else shared.answer('set headline', (text) => this.#setHeadline(String(text)))
  }

  /** Any thread serves this. */
  async visit(session: HttpSession): Promise<void> {
    const total = Atomics.add(this.#visits, 0, 1n) + 1n
    this.#ownVisits += 1
    if (session.request.method === 'PUT') {
      // Only the main thread sets values, so that all see them in the same order.
      await this.#shared.ask('set headline', (await session.readRequestBody({ maxBytes: 1_000 })).toString())
    }
    const { thread } = this.#shared
    session.respond(200, {
      body: `${this.#headline.current ?? 'No news'}; visit ${total}, thread ${thread}\n`,
    })
  }

  /** The main thread serves this. */
  async report(session: HttpSession): Promise<void> {
    const answers = await this.#shared.askWorkers('own visits')
    const perThread = Object.fromEntries(answers.map(({ thread, answer }) => [thread, answer]))
    session.respond(200, {
      headers: { 'Content-Type': 'application/json' },
      body: `${JSON.stringify({ visits: Number(Atomics.load(this.#visits, 0)), perThread })}\n`,
    })
  }

  #setHeadline(text: string): string {
    this.#headline.set(text)
    return text
  }
}
