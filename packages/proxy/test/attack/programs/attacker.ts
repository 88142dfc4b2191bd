// The attackers, in a process of their own: they share a machine with whom they attack, but no event loop, and whoever
// is fair goes first.
import { setPriority } from 'node:os'
import { type Target, wage } from '../support/attack.ts'
import { ATTACKS } from '../support/attacks.ts'
import { BUSY, spin } from '../support/spin.ts'

/** What the process is told: an attack begins, or all ends. */
export interface Order extends Target {
  /** Empty for none. */
  readonly attack: string
  /** Nobody comes back, and nobody is told to leave: others may follow meanwhile. */
  readonly once: boolean
}

setPriority(10)
let current: { connects(): number; stop(): void } | null = null
process.on('message', (order: Order) => {
  const connects = current?.connects() ?? 0
  current?.stop()
  current = null
  const attack = ATTACKS[order.attack]
  if (attack !== undefined && order.once) wage({ ...attack, clients: 4, backMs: 2 ** 31 - 1 }, order)
  else if (attack !== undefined) current = wage(attack, order)
  else if (order.attack === BUSY) current = { connects: () => 0, stop: spin() }
  process.send?.(connects)
})
process.on('disconnect', () => process.exit())
process.send?.(0)
