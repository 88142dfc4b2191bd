import type { FrameInput } from './frame-input.ts'

/**
 * Requests over HTTP/2 that a thread begins in one turn of the event loop, of all connections together: two or three
 * milliseconds of work. Without it twenty clients that open and reset streams as fast as they can have 600 begun in a
 * turn, which takes 25 ms, and a request of anybody else waits for two turns or three.
 */
export const REQUESTS_PER_TURN_MAX = 64

/** What a read may begin beyond that: whoever asks for little does not queue behind those who ask for thousands. */
export const REQUESTS_ASIDE_MAX = 4

const waiting: FrameInput[] = []
let left = REQUESTS_PER_TURN_MAX
let scheduled = false

/** A request begins. False when the thread has begun its share in this turn. */
export function takeRequest(): boolean {
  if (!scheduled) schedule()
  return --left > 0
}

/** Calls `input.readOn()` in a later turn, behind all that wait already, and again until it says that nothing is left. */
export function waitForTurn(input: FrameInput): void {
  waiting.push(input)
  if (!scheduled) schedule()
}

function schedule(): void {
  scheduled = true
  setImmediate(nextTurn)
}

function nextTurn(): void {
  scheduled = false
  left = REQUESTS_PER_TURN_MAX
  try {
    for (let count = waiting.length; count > 0 && left > 0; count--) {
      const input = waiting.shift() as FrameInput
      if (input.readOn()) waiting.push(input)
    }
  } finally {
    if (waiting.length > 0 && !scheduled) schedule()
  }
}
