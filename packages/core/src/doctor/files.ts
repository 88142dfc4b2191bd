import { type Stats, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { DoctorCode, DoctorFinding } from './finding.ts'

const WRITE_ALL = 0o002
const WRITE_GROUP = 0o020
const READ_ALL = 0o004
const STICKY = 0o1000

/** Looks at the configuration and the files that it names. */
export function examineConfiguration(
  configuration: ServerConfiguration,
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): DoctorFinding[] {
  const { upgradeSock, pidFile, errorLog, workingDirectory } = configuration
  const findings: DoctorFinding[] = []
  if (file !== undefined) findings.push(...examineConfigurationFile(file))
  if (upgradeSock !== undefined) findings.push(...examineFolder('UPGRADE_SOCK', 'upgrade_sock', upgradeSock))
  if (pidFile !== undefined) findings.push(...examineFolder('FOLDERS', 'pid_file', pidFile))
  if (errorLog !== undefined) findings.push(...examineFolder('FOLDERS', 'error_log', errorLog))
  if (workingDirectory !== undefined && statOf(workingDirectory)?.isDirectory() !== true) {
    const message = `working_directory is no folder: ${workingDirectory}`
    findings.push({ code: 'FOLDERS', level: 'error', message })
  }
  if (configuration.gracePeriodSeconds === 0) {
    const message = 'grace_period_seconds is 0: every stop and upgrade cuts the requests that run'
    findings.push({ code: 'GRACE_PERIOD', level: 'warning', message })
  }
  const { listenerReusePort, threads, user } = configuration
  if (listenerReusePort && threads !== 1 && user !== undefined) {
    const message = `listener_reuse_port cannot go with user: a worker that replaces another could not bind as "${user}"`
    findings.push({ code: 'REUSE_PORT', level: 'error', message })
  }
  const keylog = environment['SSLKEYLOGFILE']
  if (configuration.upstreamDebugSslKeylog && keylog !== undefined) {
    const message = `upstream_debug_ssl_keylog is set: whoever reads ${keylog} reads the traffic to upstreams`
    findings.push({ code: 'KEYLOG', level: 'warning', message })
  }
  return findings
}

function examineConfigurationFile(file: string): DoctorFinding[] {
  const mode = statOf(file)?.mode ?? 0
  if ((mode & (WRITE_ALL | WRITE_GROUP)) === 0) return []
  const isAll = (mode & WRITE_ALL) !== 0
  const message = `${isAll ? 'Everybody' : 'Its group'} can change ${file}, and with it what the server does: chmod ${isAll ? 'o' : 'g'}-w`
  return [{ code: 'CONFIGURATION_FILE', level: isAll ? 'error' : 'warning', message }]
}

/** Whoever may write in a folder can put a file of his own in the place of one; not where the sticky bit is set. */
function examineFolder(code: DoctorCode, key: string, path: string): DoctorFinding[] {
  const folder = dirname(path)
  const stat = statOf(folder)
  if (stat?.isDirectory() !== true)
    return [{ code, level: 'error', message: `${key}: there is no folder ${folder}` }]
  if ((stat.mode & WRITE_ALL) === 0) return []
  const isSticky = (stat.mode & STICKY) !== 0
  const message = `${key}: everybody can write to ${folder}: use a folder of the server's own, with mode 0700`
  return [{ code, level: isSticky ? 'warning' : 'error', message }]
}

/** Looks at who can read a private key. */
export function examineKeyFile(keyFile: string): DoctorFinding[] {
  const mode = statOf(keyFile)?.mode ?? 0
  if ((mode & READ_ALL) === 0) return []
  const message = `Everybody on this machine can read the key ${keyFile}: chmod o-r`
  return [{ code: 'KEY_FILE', level: 'warning', message }]
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}
