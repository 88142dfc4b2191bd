import type { Logger } from '../logger.ts'
import type { Urgency, UrgencyLevel } from './server-urgency.ts'

/** What the first signal of each kind asks for; SIGQUIT only where there is no `upgrade_sock`. */
const FIRST_LEVEL: Readonly<Partial<Record<NodeJS.Signals, UrgencyLevel>>> = {
  SIGTERM: 1,
  SIGQUIT: 1,
  SIGINT: 2,
}

/** What signals ask of a server besides to end. */
export interface SignalTarget {
  readonly logger: Logger
  /** SIGQUIT. Returns false if this server does not upgrade: then the signal drains it. */
  armUpgrade(): boolean
  /** SIGHUP or SIGUSR1. Never rejects. */
  reload(): Promise<void>
}

/**
 * Installs the handlers of SIGTERM, SIGINT, SIGQUIT, SIGHUP and SIGUSR1. Each further signal to end is one step more urgent
 * than what runs already. Returns a function that removes them.
 */
export function installSignals(urgency: Urgency, target: SignalTarget): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    if (signal === 'SIGQUIT' && urgency.level === 0 && target.armUpgrade()) return
    const first = FIRST_LEVEL[signal] ?? 1
    const level = Math.max(first, Math.min(3, urgency.level + 1)) as UrgencyLevel
    target.logger.info('Signal received', { signal, action: ACTIONS[level] })
    urgency.raise(level)
  }
  const onHangup = () => {
    // Without a handler the default would be to die when a terminal closes.
    void target.reload()
  }
  const signals = (Object.keys(FIRST_LEVEL) as NodeJS.Signals[]).filter(
    (signal) => process.platform !== 'win32' || signal !== 'SIGQUIT',
  )
  // Log rotation made for other servers sends SIGUSR1, at which Node.js would open its debugger's port.
  const reloads: NodeJS.Signals[] = process.platform === 'win32' ? ['SIGHUP'] : ['SIGHUP', 'SIGUSR1']
  for (const signal of signals) process.on(signal, onSignal)
  for (const signal of reloads) process.on(signal, onHangup)
  return () => {
    for (const signal of signals) process.removeListener(signal, onSignal)
    for (const signal of reloads) process.removeListener(signal, onHangup)
  }
}

const ACTIONS: readonly string[] = ['none', 'graceful shutdown', 'fast shutdown', 'give up waiting']
