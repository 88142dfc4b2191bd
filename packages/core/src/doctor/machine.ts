import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import { inspector } from '../lazy-modules.ts'
import { checkRuntime, type RuntimeFacts } from '../server/server-runtime.ts'
import type { DoctorFinding } from './finding.ts'

/** What {@link examineMachine} looks at; a test may pass its own. */
export interface MachineFacts extends RuntimeFacts {
  /** Default: the clock. */
  readonly nowMs?: number
  /** The most connections that wait to be accepted per socket. Default: the kernel's, where `/proc` tells it. */
  readonly somaxconn?: number
  /** Whether `postMessage` moves sockets. Default: found out. */
  readonly movesSockets?: boolean
  /** Default: the address of the inspector of this process. */
  readonly inspectorUrl?: string
  /** Default: the effective user id of this process, where there are any. */
  readonly userId?: number
}

/** Before this code was written: such a clock is wrong, and with it every check of a certificate. */
const CLOCK_LEAST_MS: number = Date.UTC(2026, 0, 1)
/** Linux has had 4,096 by default since 5.4, and 128 before. */
const SOMAXCONN_LEAST: number = 1_024

/** Looks at the runtime and the machine. */
export function examineMachine(
  configuration: ServerConfiguration,
  facts: MachineFacts = {},
): DoctorFinding[] {
  const findings: DoctorFinding[] = [...checkRuntime(facts)]
  const nowMs = facts.nowMs ?? Date.now()
  if (nowMs < CLOCK_LEAST_MS) {
    const message = `The clock says ${new Date(nowMs).toISOString()}: certificates and tokens cannot be judged`
    findings.push({ code: 'CLOCK', level: 'error', message })
  }
  const somaxconn = facts.somaxconn ?? readSomaxconn()
  if (somaxconn !== undefined && somaxconn < SOMAXCONN_LEAST) {
    const message = `At most ${somaxconn} connections wait to be accepted, whatever the backlog: raise net.core.somaxconn`
    findings.push({ code: 'SOMAXCONN', level: 'warning', message })
  }
  if (!(facts.movesSockets ?? movesSockets())) {
    const message = 'This Node.js cannot move sockets between threads: serve from one thread'
    const level = configuration.threads === 1 ? 'warning' : 'error'
    findings.push({ code: 'SOCKET_TRANSFER', level, message })
  }
  const inspectorUrl = facts.inspectorUrl ?? inspector().url()
  if (inspectorUrl !== undefined && !/^ws:\/\/(?:127\.|localhost[:/]|\[::1\])/.test(inspectorUrl)) {
    const message = `The inspector listens at ${new URL(inspectorUrl).host}: whoever reaches it controls the process`
    findings.push({ code: 'INSPECTOR', level: 'error', message })
  }
  if ((facts.userId ?? process.geteuid?.()) === 0 && configuration.user === undefined) {
    const message = 'The process runs as root: set "user" and "group", which it becomes once it listens'
    findings.push({ code: 'ROOT', level: 'warning', message })
  }
  return findings
}

function readSomaxconn(): number | undefined {
  try {
    return Number(readFileSync('/proc/sys/net/core/somaxconn', 'latin1'))
  } catch {
    return undefined // not Linux
  }
}

/** A socket without a connection is refused for its state by a runtime that moves sockets, and for its type by others. */
function movesSockets(): boolean {
  const { port1, port2 } = new MessageChannel()
  const socket = new Socket()
  try {
    port1.postMessage(socket, [socket as never])
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_WORKER_HANDLE_NOT_TRANSFERABLE'
  } finally {
    socket.destroy()
    port1.close()
    port2.close()
  }
}
