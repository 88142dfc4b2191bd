import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import type { SharedHub } from '../threads/shared-state.ts'
import type { ThreadPool } from '../threads/thread-pool.ts'
import { Inheritance } from '../upgrade/inheritance.ts'
import { claimSuccession, reportSuccession } from '../upgrade/successor.ts'
import { UpgradeHost } from '../upgrade/upgrade-host.ts'
import { reportToLauncher } from './server-daemon.ts'
import type { ServerPhase } from './server-phase.ts'
import { dropPrivileges, removePidFile, writePidFile } from './server-process.ts'
import {
  assertNobodyServes,
  collectHandOver,
  importStates,
  lingerAfterHandOver,
  releaseListeners,
  removeSurplusFiles,
} from './server-upgrade.ts'
import { type Urgency, waitFor } from './server-urgency.ts'
import type { InheritedListener, Service } from './service.ts'
import type { ServiceNode } from './service-graph.ts'
import { type ListenerSource, ServiceRunner } from './service-runner.ts'
import { activatedListeners, notifySystemd, warnOfUnclaimed } from './systemd.ts'

/** For workers whose services have used up their time: enough to write a last line, in ms. */
const LATE_THREADS_MS: number = 500

/** What a {@link ServerLife} needs of its server. */
export interface ServerLifeOptions {
  readonly configuration: ServerConfiguration
  readonly logger: Logger
  readonly nodes: readonly ServiceNode[]
  readonly urgency: Urgency
  readonly hub: SharedHub
  /** Worker threads; undefined for none. */
  readonly pool: ThreadPool | undefined
  readonly onPhase: (phase: ServerPhase) => void
}

/** From the start of the services to the end of the last: alone, after a predecessor, and before a successor. */
export class ServerLife {
  /** 1, or one more than the predecessor's. */
  generation = 1
  readonly #configuration: ServerConfiguration
  readonly #logger: Logger
  readonly #nodes: readonly ServiceNode[]
  readonly #urgency: Urgency
  readonly #hub: SharedHub
  readonly #pool: ThreadPool | undefined
  readonly #setPhase: (phase: ServerPhase) => void
  /** Resolves with a promise for the last connection, wrapped so that it is not waited for, at the hand-over. */
  readonly #handedOver: PromiseWithResolvers<{ released: Promise<void> }> = Promise.withResolvers()
  #host: UpgradeHost | undefined
  #pidFile: string | undefined
  /** The one that systemd knows, and whose end is the end of the service. */
  #isMainProcess = false

  constructor(options: ServerLifeOptions) {
    this.#configuration = options.configuration
    this.#logger = options.logger
    this.#nodes = options.nodes
    this.#urgency = options.urgency
    this.#hub = options.hub
    this.#pool = options.pool
    this.#setPhase = (phase) => {
      this.#pool?.setPhase(phase, this.generation)
      options.onPhase(phase)
    }
  }

  /** SIGQUIT: lets a successor in. */
  armUpgrade(): void {
    this.#host?.arm()
  }

  /** Start, run, stop. A failure to start is thrown after the stop; one caused by a shutdown is not thrown. */
  async run(): Promise<void> {
    const { upgradeSock } = this.#configuration
    let failure: { readonly error: unknown } | undefined
    let inheritance: Inheritance | undefined
    let runner: ServiceRunner | undefined
    try {
      if (claimSuccession()) inheritance = this.#inherit()
      else if (upgradeSock !== undefined) await assertNobodyServes(upgradeSock)
      const source: ListenerSource | undefined = inheritance ?? activatedListeners()
      const threads = { hub: this.#hub, pool: this.#pool }
      runner = new ServiceRunner(this.#nodes, this.#configuration, this.#logger, threads, source)
      if (this.#pool !== undefined && this.#urgency.level === 0) {
        await Promise.race([this.#pool.start(), this.#urgency.reached(1)])
      }
      if (this.#urgency.level === 0) {
        const started = inheritance === undefined ? this.#start(runner) : this.#takeOver(runner, inheritance)
        await Promise.race([started, this.#urgency.reached(1)])
      }
      if (this.#urgency.level === 0) await this.#serveOn()
    } catch (error) {
      if (this.#urgency.level === 0) failure = { error }
    }
    if (inheritance !== undefined) {
      inheritance.fail(
        new Error(failure === undefined ? 'It was told to end' : (failure.error as Error).message),
      )
    }
    this.#host?.unpublish()
    if (this.#isMainProcess && this.#host?.isCommitted !== true)
      void notifySystemd('STOPPING=1', false, this.#logger)
    const hasEnded =
      runner === undefined ||
      (await this.#stop(runner, failure !== undefined && inheritance?.hasListeners !== true))
    await this.#endThreads(hasEnded)
    // After a hand-over the file is the successor's, or about to be.
    if (this.#pidFile !== undefined && this.#host?.isCommitted !== true) removePidFile(this.#pidFile)
    if (failure !== undefined) throw failure.error
    if (inheritance?.isInCharge === false) await reportSuccession('It was told to end')
  }

  async #start(runner: ServiceRunner): Promise<void> {
    await runner.start()
    if (this.#urgency.level > 0) return
    this.#writePidFile()
    dropPrivileges(this.#configuration)
    await this.#publish()
    if (this.#urgency.level > 0) return
    warnOfUnclaimed(this.#logger)
    this.#pool?.serve()
    this.#setPhase('running')
    reportToLauncher({ ready: true })
    await this.#notifyReady(false)
  }

  /** The same for a successor: its files replace those of the predecessor once that one has let go. */
  async #takeOver(runner: ServiceRunner, inheritance: Inheritance): Promise<void> {
    await Promise.race([runner.start(), inheritance.failed])
    const surplus: InheritedListener[] = await inheritance.complete()
    if (this.#urgency.level > 0) return
    dropPrivileges(this.#configuration)
    if (!(await inheritance.commit(this.#configuration.upgradeSock ?? ''))) {
      throw new Error('The old server serves on')
    }
    if (this.#urgency.level > 0) return
    // There is no way back from here, so what fails is logged.
    removeSurplusFiles(surplus, this.#logger)
    for (const act of [() => this.#publish(), () => this.#writePidFile()]) {
      try {
        await act()
      } catch (error) {
        this.#logger.error('Took over, but could not write a file', { error })
      }
    }
    if (this.#urgency.level > 0) return
    this.#pool?.serve()
    this.#setPhase('running')
    await reportSuccession(undefined)
    await this.#notifyReady(true)
  }

  async #notifyReady(isSuccessor: boolean): Promise<void> {
    this.#isMainProcess = true
    await notifySystemd('READY=1', isSuccessor, this.#logger)
  }

  #inherit(): Inheritance {
    const { upgradeReadyTimeoutSeconds } = this.#configuration
    return new Inheritance({
      channel: process,
      logger: this.#logger,
      timeoutMs: upgradeReadyTimeoutSeconds * 1000,
      pausedKeys: this.#services().flatMap((service, index) =>
        this.#pool?.dispatch(index) === undefined ? [] : (service.transferKeys?.() ?? []),
      ),
      onState: (state) => {
        this.generation = state.generation + 1
        this.#pool?.setPhase('bootstrap-complete', this.generation) // before they get a connection
        importStates(this.#services(), state, this.#logger)
      },
    })
  }

  async #publish(): Promise<void> {
    const { upgradeSock, upgradeWaitsForSignal, upgradeReadyTimeoutSeconds } = this.#configuration
    if (upgradeSock === undefined) return
    const options = {
      path: upgradeSock,
      waitsForSignal: upgradeWaitsForSignal,
      readyTimeoutMs: upgradeReadyTimeoutSeconds * 1000,
    }
    this.#host = new UpgradeHost(options, {
      logger: this.#logger,
      onTransfer: () => {
        this.#setPhase('graceful-upgrade-transferring-fds')
        return collectHandOver(this.#services(), this.generation, this.#logger)
      },
      onRollback: () => {
        for (const service of this.#services()) service.resumeListeners?.()
        if (this.#urgency.level === 0) this.#setPhase('running')
      },
      onCommit: () =>
        this.#handedOver.resolve({ released: releaseListeners(this.#services(), this.#pool, this.#logger) }),
    })
    await this.#host.publish()
  }

  /** Resolves when this server has to end: it was told to, or a successor has taken over. */
  async #serveOn(): Promise<void> {
    const handedOver = await Promise.race([this.#handedOver.promise, this.#urgency.reached(1)])
    if (handedOver === undefined) return
    this.#setPhase('graceful-upgrade-close-timeout')
    const { upgradeCloseTimeoutSeconds } = this.#configuration
    const closeTimeoutMs = upgradeCloseTimeoutSeconds * 1000
    // The time of idle clients begins when their thread tells them; a worker may be slow to hear of it.
    if (this.#pool !== undefined) await waitFor(this.#pool.sync(), this.#urgency.reached(1), closeTimeoutMs)
    await lingerAfterHandOver(handedOver.released, this.#urgency, closeTimeoutMs)
    this.#urgency.raise(1)
  }

  /** Lets the workers end, and ends those that do not. If services have had their time already, that is over soon. */
  async #endThreads(haveServicesEnded: boolean): Promise<void> {
    if (this.#pool === undefined) return
    const ended = this.#pool.end()
    const timeoutMs = this.#configuration.gracefulShutdownTimeoutSeconds * 1000
    const restMs = haveServicesEnded ? timeoutMs : Math.min(timeoutMs, LATE_THREADS_MS)
    if (await waitFor(ended, this.#urgency.reached(3), restMs)) return
    this.#logger.warn('Worker threads did not end in time')
    this.#pool.terminate()
    await ended
  }

  #services(): Service[] {
    return this.#nodes.map((node) => node.service)
  }

  #writePidFile(): void {
    const { pidFile } = this.#configuration
    if (pidFile === undefined) return
    writePidFile(pidFile)
    this.#pidFile = pidFile
  }

  /** Returns whether every service has ended in time. */
  async #stop(runner: ServiceRunner, hasFailed: boolean): Promise<boolean> {
    const { gracePeriodSeconds, gracefulShutdownTimeoutSeconds } = this.#configuration
    const urgency = this.#urgency
    const isGraceful = urgency.level < 2 && !hasFailed
    if (isGraceful) this.#setPhase('graceful-terminate')
    this.#setPhase('shutdown-started')
    const begun = performance.now()
    const drained = runner.drain()
    if (isGraceful) {
      this.#setPhase('shutdown-grace-period')
      const isDrained = await waitFor(drained, urgency.reached(2), gracePeriodSeconds * 1000)
      if (!isDrained) this.#logger.warn('Work is being cut', { services: runner.unfinished() })
    }
    this.#setPhase('shutdown-runtimes')
    runner.destroy()
    const hasEnded = await waitFor(drained, urgency.reached(3), gracefulShutdownTimeoutSeconds * 1000)
    if (!hasEnded) {
      this.#logger.warn('Services did not end in time', { services: runner.unfinished() })
    }
    this.#logger.info('Shut down', { tookMs: Math.round(performance.now() - begun) })
    return hasEnded
  }
}
