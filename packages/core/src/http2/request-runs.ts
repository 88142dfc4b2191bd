import { LENT_BYTES_MIN, READ_BYTES, returnReadBuffer, takeReadBuffer } from '../http1/read-buffer.ts'
import { isMemoryFree, type WriteResult } from '../write-result.ts'
import { atTurnEnd, type TurnWriter } from './turn-end.ts'

/** Who takes what was gathered. */
export interface RequestRunsOwner {
  /** True while the body may be handed on. */
  readonly wantsRuns: boolean
  /** Hands a run on; see `ServerSessionHandler.onRequestData`. */
  passRun(buffer: Buffer, start: number, end: number): WriteResult | undefined
}

/**
 * Puts the DATA of a request together that one turn of the event loop brings: a frame holds 16 KiB and comes in two TLS
 * records, so that to pass each run by itself takes eight writes where one does.
 */
export class RequestRuns implements TurnWriter {
  readonly #owner: RequestRunsOwner
  #memory: Buffer | null = null
  #bytes = 0
  #isScheduled = false

  constructor(owner: RequestRunsOwner) {
    this.#owner = owner
  }

  /** Copies a run. What fills the memory is passed on at once, the rest at the end of the turn. */
  add(buffer: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      this.#memory ??= takeReadBuffer()
      const taken = buffer.copy(this.#memory, this.#bytes, at, end)
      this.#bytes += taken
      at += taken
      if (this.#bytes === READ_BYTES) this.pass()
    }
    if (this.#memory === null || this.#isScheduled) return
    this.#isScheduled = true
    atTurnEnd(this)
  }

  writeTurn(): void {
    this.#isScheduled = false
    if (this.#owner.wantsRuns) this.pass()
  }

  /** Hands on what there is. */
  pass(): void {
    const memory = this.#memory
    if (memory === null) return
    const bytes = this.#bytes
    this.#memory = null
    this.#bytes = 0
    if (bytes < LENT_BYTES_MIN) {
      // Somebody may keep many of these.
      this.#owner.passRun(Buffer.from(memory.subarray(0, bytes)), 0, bytes)
      returnReadBuffer(memory)
    } else if (isMemoryFree(this.#owner.passRun(memory, 0, bytes))) returnReadBuffer(memory)
  }

  /** Nobody wants it any more. */
  drop(): void {
    const memory = this.#memory
    if (memory === null) return
    this.#memory = null
    this.#bytes = 0
    returnReadBuffer(memory)
  }
}
