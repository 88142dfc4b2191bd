import { readFileSync } from 'node:fs'
import type { DoctorFinding } from '../doctor/finding.ts'

/** Something about the machine or the runtime that an operator should change. */
export interface RuntimeFinding extends DoctorFinding {
  readonly code: 'NODE_VERSION' | 'FILE_DESCRIPTORS' | 'TLS_UNVERIFIED'
}

/** What {@link checkRuntime} looks at; a test may pass its own. */
export interface RuntimeFacts {
  /** Default `process.versions.node`. */
  readonly nodeVersion?: string
  /** Soft limit of open files. Default: this process's, where `/proc` tells it. */
  readonly fileDescriptorsMax?: number
  /** Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * First releases of each line without a known remote defect that concerns a proxy: those of October 2026 fix
 * a write out of bounds in the Brotli decoder and unread data on a reused socket.
 */
const FIXED_VERSIONS: Readonly<Record<number, readonly [number, number]>> = { 24: [22, 1], 26: [12, 1] }
const MAJOR_NEWEST: number = 26
const FILE_DESCRIPTORS_MIN: number = 4096

/**
 * Looks for known defects of this Node.js version, a low limit of open files, and switched-off certificate
 * checks. The server logs each finding as a warning, once, at start; `server.examine()` looks at more.
 */
export function checkRuntime(facts: RuntimeFacts = {}): RuntimeFinding[] {
  const findings: RuntimeFinding[] = []
  const version = facts.nodeVersion ?? process.versions.node
  const advice = adviseVersion(version)
  if (advice !== undefined) findings.push({ code: 'NODE_VERSION', level: 'error', message: advice })
  const descriptors = facts.fileDescriptorsMax ?? readFileDescriptorsMax()
  if (descriptors !== undefined && descriptors < FILE_DESCRIPTORS_MIN) {
    const message = `Only ${descriptors} files may be open, and each connection takes one or two: raise "ulimit -n"`
    findings.push({ code: 'FILE_DESCRIPTORS', level: 'warning', message })
  }
  if ((facts.environment ?? process.env)['NODE_TLS_REJECT_UNAUTHORIZED'] === '0') {
    const message = 'NODE_TLS_REJECT_UNAUTHORIZED=0 switches off certificate checks for the whole process'
    findings.push({ code: 'TLS_UNVERIFIED', level: 'error', message })
  }
  return findings
}

function adviseVersion(version: string): string | undefined {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  if (major > MAJOR_NEWEST) return undefined
  const fixed = FIXED_VERSIONS[major]
  if (fixed === undefined) return `Node.js ${version} is not supported: use 24 or 26`
  const isFixed = minor > fixed[0] || (minor === fixed[0] && patch >= fixed[1])
  return isFixed
    ? undefined
    : `Node.js ${version} has known remote defects: use ${major}.${fixed.join('.')} or later`
}

/** The soft limit of open files, where `/proc` tells it. */
export function readFileDescriptorsMax(): number | undefined {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined // not Linux
  }
}
