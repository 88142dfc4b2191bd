import type { Logger } from './logger.ts'
import type { Urgency, UrgencyLevel } from './server-urgency.ts'

/** What the first signal of each kind asks for. SIGQUIT is kept for upgrades and drains until then. */
const FIRST_LEVEL: Readonly<Partial<Record<NodeJS.Signals, UrgencyLevel>>> = {
  SIGTERM: 1,
  SIGQUIT: 1,
  SIGINT: 2,
}

/**
 * Installs the handlers of SIGTERM, SIGINT, SIGQUIT and SIGHUP. Each further signal is one step more urgent
 * than what runs already. Returns a function that removes them.
 */
export function installSignals(urgency: Urgency, logger: () => Logger): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    const first = FIRST_LEVEL[signal] ?? 1
    const level = Math.max(first, Math.min(3, urgency.level + 1)) as UrgencyLevel
    logger().info('Signal received', { signal, action: ACTIONS[level] })
    urgency.raise(level)
  }
  const onHangup = () => {
    // Without a handler the default would be to die when a terminal closes.
    logger().info('Signal ignored: this version does not reload', { signal: 'SIGHUP' })
  }
  const signals = (Object.keys(FIRST_LEVEL) as NodeJS.Signals[]).filter(
    (signal) => process.platform !== 'win32' || signal !== 'SIGQUIT',
  )
  for (const signal of signals) process.on(signal, onSignal)
  process.on('SIGHUP', onHangup)
  return () => {
    for (const signal of signals) process.removeListener(signal, onSignal)
    process.removeListener('SIGHUP', onHangup)
  }
}

const ACTIONS: readonly string[] = ['none', 'graceful shutdown', 'fast shutdown', 'give up waiting']
