import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { createConfiguration, loadConfiguration } from '../configuration/configuration.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { childProcesses } from '../lazy-modules.ts'
import { type Logger, stderrLogger } from '../logger.ts'
import { launchSuccessor } from '../upgrade/launch.ts'
import { parseServerArguments } from './server-arguments.ts'

/** Options of {@link supervise}. */
export interface SuperviseOptions {
  /** The server's program: one that calls `runForever()`. */
  readonly script: string | URL
  /** Its arguments, such as `['-c', 'proxy.yaml']`; `-c` is read here too, for `upgrade_sock`. Default none. */
  readonly argv?: readonly string[]
  /** Default: stderr. */
  readonly logger?: Logger
}

const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGQUIT']

/**
 * Stays in the foreground while generations of a server come and go: for containers, where the end of process 1 is
 * the end of them all.
 *
 * SIGUSR2 has a new generation take over, with the configuration and the program as they are in the files then. If
 * that fails, the reason is logged and the old generation serves on. SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGQUIT are
 * passed on to the newest generation.
 *
 * @returns The exit status for this process, when the last generation has ended: that of the newest; 128 and the
 *   signal's number if a signal ended it.
 * @throws {ConfigurationError | ServerArgumentsError} If the configuration cannot be read at start.
 * @throws {Error} If the configuration has no `upgrade_sock`, or makes the server a daemon.
 * @example
 * process.exitCode = await supervise({ script: './server.js', argv: process.argv.slice(2) })
 */
export async function supervise(options: SuperviseOptions): Promise<number> {
  return await new Supervisor(options).run()
}

class Supervisor {
  readonly #argv: readonly string[]
  readonly #conf: string | undefined
  readonly #logger: Logger
  readonly #running: Set<ChildProcess> = new Set()
  readonly #ended: PromiseWithResolvers<number> = Promise.withResolvers()
  #newest: ChildProcess | undefined
  #status = 0
  #isUpgrading = false

  constructor(options: SuperviseOptions) {
    const argv = options.argv ?? []
    const script = options.script instanceof URL ? fileURLToPath(options.script) : options.script
    if (typeof script !== 'string' || script === '') throw new TypeError('Expected a script, received none')
    const parsed = parseServerArguments(argv, { allowUnknown: true }).options
    if (parsed.daemon || parsed.upgrade) throw new Error('A supervised server takes neither -d nor -u')
    this.#conf = parsed.conf
    this.#argv = [...process.execArgv, script, ...argv]
    this.#logger = options.logger ?? stderrLogger()
    this.#configuration()
  }

  /** As it is in the file now. */
  #configuration(): ServerConfiguration {
    const configuration = this.#conf === undefined ? createConfiguration() : loadConfiguration(this.#conf)
    if (configuration.daemon)
      throw new Error('A supervised server runs in the foreground: set "daemon" to false')
    if (configuration.upgradeSock === undefined) {
      throw new Error('A supervised server needs "upgrade_sock" in its configuration')
    }
    return configuration
  }

  async run(): Promise<number> {
    const forward = (signal: NodeJS.Signals) => void this.#newest?.kill(signal)
    const upgrade = () => void this.#upgrade()
    for (const signal of FORWARDED) process.on(signal, forward)
    process.on('SIGUSR2', upgrade)
    try {
      this.#follow(childProcesses().spawn(process.execPath, [...this.#argv], { stdio: 'inherit' }))
      return await this.#ended.promise
    } finally {
      for (const signal of FORWARDED) process.off(signal, forward)
      process.off('SIGUSR2', upgrade)
    }
  }

  #follow(child: ChildProcess): void {
    this.#newest = child
    this.#running.add(child)
    const gone = (status: number) => {
      if (!this.#running.delete(child)) return
      if (child === this.#newest) this.#status = status
      this.#endIfLast()
    }
    child.once('error', (error) => {
      this.#logger.error('Cannot start the server', { error })
      gone(1)
    })
    child.once('exit', (code, signal) => gone(statusOf(code, signal)))
    if (child.exitCode !== null || child.signalCode !== null) gone(statusOf(child.exitCode, child.signalCode))
  }

  /** While an upgrade is under way its new server may live on after the old one's end. */
  #endIfLast(): void {
    if (this.#running.size === 0 && !this.#isUpgrading) this.#ended.resolve(this.#status)
  }

  async #upgrade(): Promise<void> {
    if (this.#isUpgrading || this.#running.size === 0) return
    this.#isUpgrading = true
    try {
      const child = await launchSuccessor({
        configuration: this.#configuration(),
        logger: this.#logger,
        toErrorLog: false,
        argv: [...this.#argv, '--upgrade'],
        detached: false,
        onWaiting: (pid) => void process.kill(pid, 'SIGQUIT'),
      })
      child.removeAllListeners()
      this.#logger.info('The new server has taken over', { pid: child.pid })
      this.#follow(child)
    } catch (error) {
      this.#logger.error('Upgrade failed', { error })
    } finally {
      this.#isUpgrading = false
      this.#endIfLast()
    }
  }
}

function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal])
}
