import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { childProcesses } from '../lazy-modules.ts'
import type { Logger } from '../logger.ts'
import {
  ANSWER_BYTES_MAX,
  connectUpgrade,
  line,
  pingUpgrade,
  RENDEZVOUS_TIMEOUT_MS,
  readLine,
  TIMER_MS_MAX,
  UPGRADE_PROTOCOL_VERSION,
  type UpgradeAnswer,
} from './protocol.ts'

/** Tells a process that a launcher started it to take over; its value is the descriptor of the pipe for its report. */
export const SUCCESSOR_MARK: string = 'CIRQUE_SUCCESSOR'

const REPORT_FD: number = 4
const REPORT_BYTES_MAX: number = 65_536
const REASONS: Readonly<Record<string, string>> = {
  busy: 'another upgrade is under way, or the server is ending',
  helper: 'it cannot start its helper process',
  listeners: 'it cannot hand over its listeners; its log says why',
  protocol: 'it does not understand the request',
}

/** Options of {@link launchSuccessor}. */
export interface LaunchOptions {
  readonly configuration: Pick<ServerConfiguration, 'errorLog' | 'upgradeReadyTimeoutSeconds' | 'upgradeSock'>
  readonly logger: Logger
  /** Standard output and error go to `error_log` instead of the launcher's own. */
  readonly toErrorLog: boolean
  /** What to run; `process.execPath` with it. */
  readonly argv: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Its own session and no terminal. */
  readonly detached: boolean
  /** The running server waits for SIGQUIT. Called at most once. */
  readonly onWaiting?: (pid: number) => void
}

/**
 * Asks the running server to hand over, starts the successor on that connection, and resolves with it when it
 * serves and the old one has let go.
 *
 * @throws {Error} Why not; the old server then serves on, unless the message says otherwise.
 */
export async function launchSuccessor(options: LaunchOptions): Promise<ChildProcess> {
  const path = options.configuration.upgradeSock
  if (path === undefined) throw new Error('An upgrade needs "upgrade_sock" in the configuration')
  const connection = await askToHandOver(path, options)
  let child: ChildProcess
  try {
    child = startSuccessor(connection, options)
  } finally {
    connection.destroy() // the successor has its own copy
  }
  // The old server's deadline ends a successor that hangs; this one is for when both hang.
  const timeoutMs = Math.min(options.configuration.upgradeReadyTimeoutSeconds * 1000 + 30_000, TIMER_MS_MAX)
  await report(child, timeoutMs)
  return child
}

/** Resolves with the connection once the old server has said "go". */
async function askToHandOver(path: string, options: LaunchOptions): Promise<Socket> {
  const running = await pingUpgrade(path)
  if (running === undefined) throw new Error(`Nothing to upgrade: no server answers at ${path}`)
  if (running !== 'silent' && running.signal) {
    if (options.onWaiting !== undefined) options.onWaiting(running.pid)
    else options.logger.info('The running server waits for SIGQUIT to hand over', { pid: running.pid })
  }
  const connection = await connectUpgrade(path)
  try {
    connection.write(
      line({ t: 'hello', v: UPGRADE_PROTOCOL_VERSION, pid: process.pid, node: process.version }),
    )
    const answer = (await readLine(
      connection,
      ANSWER_BYTES_MAX,
      RENDEZVOUS_TIMEOUT_MS + 1000,
    )) as UpgradeAnswer
    if (answer.t === 'go' && answer.v === UPGRADE_PROTOCOL_VERSION) return connection
    if (answer.t === 'no' && answer.err === 'version') {
      throw new Error(
        `The running server speaks version ${answer.v} of the upgrade protocol, this one ${UPGRADE_PROTOCOL_VERSION}`,
      )
    }
    throw new Error(
      `The running server refused: ${answer.t === 'no' ? (REASONS[answer.err] ?? answer.err) : 'unexpected answer'}`,
    )
  } catch (error) {
    connection.destroy()
    throw error
  }
}

function startSuccessor(connection: Socket, options: LaunchOptions): ChildProcess {
  const { configuration, toErrorLog, argv, detached } = options
  const env: NodeJS.ProcessEnv = {
    ...(options.env ?? process.env),
    NODE_CHANNEL_FD: '3',
    [SUCCESSOR_MARK]: String(REPORT_FD),
  }
  delete env['NODE_CHANNEL_SERIALIZATION_MODE']
  const log = toErrorLog ? openSync(configuration.errorLog ?? '/dev/null', 'a', 0o640) : undefined
  try {
    return childProcesses().spawn(process.execPath, [...argv], {
      detached,
      stdio: ['ignore', log ?? 'inherit', log ?? 'inherit', connection, 'pipe'],
      env,
    })
  } finally {
    if (log !== undefined) closeSync(log)
  }
}

/** Resolves when the successor reports that it is ready, rejects with what it reports else. */
function report(child: ChildProcess, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const pipe = child.stdio[REPORT_FD] as Socket | undefined
  let text = ''
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    reject(new Error(`The new server was not ready within ${timeoutMs} ms and was killed`))
  }, timeoutMs)
  pipe?.setEncoding('utf8').on('error', () => undefined)
  pipe?.on('data', (chunk: string) => {
    text += chunk
    if (text.length > REPORT_BYTES_MAX) pipe.destroy()
    if (!text.includes('\n')) return
    const said = text.slice(0, text.indexOf('\n'))
    if (said === 'ready') resolve()
    else reject(new Error(`The new server failed: ${said.replace(/^error /, '')}`))
  })
  child.once('error', reject)
  // 'close' comes after the pipe's last bytes, so a report that was made is heard first.
  child.once('close', (code, signal) => {
    reject(new Error(`The new server ended before it was ready (${signal ?? `status ${code}`})`))
  })
  return promise.finally(() => {
    clearTimeout(timer)
    pipe?.destroy()
  })
}
