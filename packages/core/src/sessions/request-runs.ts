import { atTurnEnd, type TurnWriter } from '../http2/turn-end.ts'
import { returnReadBuffer, takeReadBuffer, takeRunBuffer } from '../sockets/read-buffer.ts'
import { isMemoryFree, type WriteResult } from './write-result.ts'

/** Requests of a thread that gather at once, 64 KiB each: the next one lets the first of them go on. */
const GATHERING_MAX = 32

/** Who takes what was gathered. */
export interface RequestRunsOwner {
  /** True while the body may be handed on. */
  readonly wantsRuns: boolean
  /** Hands a run on; see `ServerSessionHandler.onRequestData`. */
  passRun(buffer: Buffer, start: number, end: number): WriteResult | undefined
}

/** Those whose run ends with this turn; the first one gathers longest. */
const gathering: RequestRuns[] = []
let isScheduled = false

const turnEnd: TurnWriter = {
  writeTurn(): void {
    isScheduled = false
    // What gathers from here on has another turn.
    for (const runs of gathering.splice(0)) runs.settle()
  },
}

/**
 * Puts the runs of a request's body together that one turn of the event loop brings: TLS hands over 16 KiB at a time,
 * and a DATA frame may come in two of those, so that to pass each by itself takes eight writes where one does.
 */
export class RequestRuns {
  readonly #owner: RequestRunsOwner
  #memory: Buffer | null = null
  #bytes = 0
  /** It was kept beyond its turn. */
  #isSettled = false

  constructor(owner: RequestRunsOwner) {
    this.#owner = owner
  }

  /** True when there is nothing to pass. */
  get isEmpty(): boolean {
    return this.#memory === null
  }

  /** Copies a run. What fills the memory is passed on at once, the rest at the end of the turn. */
  add(buffer: Buffer, start: number, end: number): void {
    if (this.#isSettled) this.pass()
    for (let at = start; at < end; ) {
      const memory = this.#memory ?? this.#take()
      const taken = buffer.copy(memory, this.#bytes, at, end)
      this.#bytes += taken
      at += taken
      if (this.#bytes === memory.length) this.pass()
    }
  }

  #take(): Buffer {
    if (gathering.length >= GATHERING_MAX) gathering[0]?.settle()
    const memory = takeReadBuffer()
    this.#memory = memory
    gathering.push(this)
    if (!isScheduled) {
      isScheduled = true
      atTurnEnd(turnEnd)
    }
    return memory
  }

  /** Hands on what there is, or keeps it in no more memory than it needs while nobody wants it. */
  settle(): void {
    const memory = this.#memory
    if (memory === null) return
    if (this.#owner.wantsRuns) this.pass()
    else {
      this.#leave()
      this.#isSettled = true
      this.#memory = ofItsSize(memory, this.#bytes)
    }
  }

  /** Hands on what there is. */
  pass(): void {
    const memory = this.#release()
    if (memory === null) return
    const bytes = this.#bytes
    this.#bytes = 0
    // Somebody may keep many of these.
    const run = ofItsSize(memory, bytes)
    if (isMemoryFree(this.#owner.passRun(run, 0, bytes))) returnReadBuffer(run)
  }

  /** Nobody wants it any more. */
  drop(): void {
    const memory = this.#release()
    this.#bytes = 0
    if (memory !== null) returnReadBuffer(memory)
  }

  #release(): Buffer | null {
    const memory = this.#memory
    this.#memory = null
    this.#isSettled = false
    this.#leave()
    return memory
  }

  #leave(): void {
    const at = gathering.indexOf(this)
    if (at >= 0) gathering.splice(at, 1)
  }
}

/** The run in memory at most twice as large as it is; gives `memory` back if that is another. */
function ofItsSize(memory: Buffer, bytes: number): Buffer {
  if (memory.length < bytes * 2) return memory
  const own = takeRunBuffer(bytes) ?? Buffer.allocUnsafe(bytes)
  memory.copy(own, 0, 0, bytes)
  returnReadBuffer(memory)
  return own
}
