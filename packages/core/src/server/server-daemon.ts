import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { childProcesses } from '../lazy-modules.ts'

/** Tells a child that it is the daemon itself and must not launch another. */
const MARK: string = 'CIRQUE_DAEMON'

/** What a daemon tells its launcher, once. */
export type DaemonReport = { readonly ready: true } | { readonly error: string }

let isChild: boolean | undefined
let hasReported = false

/** True in the process that `launchDaemon` started. */
export function isDaemonChild(): boolean {
  if (isChild === undefined) {
    isChild = process.env[MARK] !== undefined && process.channel !== undefined
    delete process.env[MARK] // the daemon's own children are no daemons
  }
  return isChild
}

/** Calls back if the launcher goes away before it had its report: nobody would know of this daemon then. */
export function onLauncherGone(callback: () => void): void {
  if (!isDaemonChild()) return
  const onGone = () => {
    if (!hasReported) callback()
  }
  if (process.connected) process.once('disconnect', onGone)
  else onGone()
}

/** Tells the launcher, if there is one, and hangs up. */
export function reportToLauncher(report: DaemonReport): void {
  if (!isDaemonChild() || hasReported) return
  hasReported = true
  process.send?.({ cirqueDaemon: report }, undefined, undefined, () => {
    if (process.connected) process.disconnect?.()
  })
}

/**
 * Starts this program again, detached: own session, no terminal, stderr to `error_log`. Resolves with its
 * process id when it says it is ready, so that the launcher's exit status is truthful.
 *
 * @throws {Error} What the daemon says went wrong, that it ended, or that it took too long (it is then killed).
 */
export async function launchDaemon(configuration: ServerConfiguration): Promise<number> {
  const script = process.argv[1]
  if (script === undefined) throw new Error('A daemon needs a script file to start again')
  const log = openSync(configuration.errorLog ?? '/dev/null', 'a', 0o640)
  let child: ChildProcess
  try {
    child = childProcesses().spawn(
      process.execPath,
      [...process.execArgv, script, ...process.argv.slice(2)],
      {
        detached: true,
        stdio: ['ignore', log, log, 'ipc'],
        env: { ...process.env, [MARK]: String(process.pid) },
      },
    )
  } finally {
    closeSync(log)
  }
  const timeoutMs = configuration.daemonReadyTimeoutSeconds * 1000
  try {
    return await readiness(child, timeoutMs)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    if (child.connected) child.disconnect()
    child.removeAllListeners()
    child.on('error', () => undefined) // what happens to it from here on is its own affair
    child.unref()
  }
}

function readiness(child: ChildProcess, timeoutMs: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const timer = setTimeout(() => {
    reject(new Error(`The daemon was not ready within ${timeoutMs} ms and was killed`))
  }, timeoutMs)
  child.on('message', (message) => {
    const report = (message as { cirqueDaemon?: DaemonReport }).cirqueDaemon
    if (report === undefined) return
    if ('error' in report) reject(new Error(`The daemon failed: ${report.error}`))
    else resolve(child.pid ?? 0)
  })
  child.once('error', reject)
  child.once('exit', (code, signal) => {
    reject(new Error(`The daemon ended before it was ready (${signal ?? `status ${code}`})`))
  })
  return promise.finally(() => clearTimeout(timer))
}
