/** What writes at the end of a turn of the event loop. */
export interface TurnWriter {
  writeTurn(): void
}

let waiting: TurnWriter[] = []
let spare: TurnWriter[] = []
let scheduled = false

/**
 * Calls `writer.writeTurn()` once all that this turn of the event loop has read is dealt with, so that what many
 * connections have brought for one leaves in one write. To be asked for once a turn.
 */
export function atTurnEnd(writer: TurnWriter): void {
  waiting.push(writer)
  if (scheduled) return
  scheduled = true
  setImmediate(writeAll)
}

function writeAll(): void {
  scheduled = false
  const writers = waiting
  waiting = spare
  for (const writer of writers) writer.writeTurn()
  writers.length = 0
  spare = writers
}
