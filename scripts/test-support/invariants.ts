import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { InvariantMessage } from '../../packages/error/src/index.ts'

/** The invariants that are broken in this thread, as the channel `cirque:invariant` tells of them until the scope ends. */
export function listening(): { readonly messages: InvariantMessage[]; [Symbol.dispose](): void } {
  const messages: InvariantMessage[] = []
  const listen = (message: unknown) => void messages.push(message as InvariantMessage)
  subscribe('cirque:invariant', listen)
  return { messages, [Symbol.dispose]: () => unsubscribe('cirque:invariant', listen) }
}

/** Which state of a table leads where, by name. */
export function movesOf(table: {
  readonly names: readonly string[]
  allows(from: never, to: never): boolean
}): Record<string, string[]> {
  const { names } = table
  return Object.fromEntries(
    names.map((from, at) => [from, names.filter((_to, next) => table.allows(at as never, next as never))]),
  )
}
