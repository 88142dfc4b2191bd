import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { type DoctorFinding, doctorReport } from '../doctor/finding.ts'
import type { Logger } from '../logger.ts'
import { launchSuccessor } from '../upgrade/launch.ts'
import { isSuccessor } from '../upgrade/successor.ts'
import type { ServerArguments } from './server-arguments.ts'
import { isDaemonChild, launchDaemon } from './server-daemon.ts'

/** The server, as the errands of its process see it. */
export interface ErrandHost {
  readonly arguments: ServerArguments
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  examine(): DoctorFinding[]
}

/**
 * What a process does in place of serving, as its command line says: print what the doctor finds, or launch the process
 * that serves, a daemon or the successor of a running server. Undefined: it serves by itself.
 */
export function errandOf(host: ErrandHost): (() => Promise<void>) | undefined {
  const { doctor, test, upgrade, daemon } = host.arguments
  const wantsDaemon = host.configuration.daemon || daemon
  if (doctor === true) return async () => printFindings(host.examine())
  if (test || isSuccessor()) return undefined
  if (upgrade) return () => launchUpgrade(host, wantsDaemon)
  if (wantsDaemon && !isDaemonChild()) return () => launchInBackground(host)
  return undefined
}

function printFindings(findings: readonly DoctorFinding[]): void {
  process.stdout.write(doctorReport(findings))
  if (findings.some(({ level }) => level === 'error')) process.exitCode = 1
}

async function launchInBackground({ configuration, logger }: ErrandHost): Promise<void> {
  const pid = await launchDaemon(configuration)
  logger.info('Daemon is ready', { pid })
}

async function launchUpgrade({ configuration, logger }: ErrandHost, toErrorLog: boolean): Promise<void> {
  const script = process.argv[1]
  if (script === undefined) throw new Error('An upgrade needs a script file to start')
  const child = await launchSuccessor({
    configuration,
    logger,
    toErrorLog,
    argv: [...process.execArgv, script, ...process.argv.slice(2)],
    detached: true,
  })
  logger.info('The new server has taken over', { pid: child.pid })
  child.removeAllListeners()
  child.unref()
}
