/** What the doctor looks at, and how a check is called in its report. One list: the documentation is compared with it. */
export const DOCTOR_CHECKS: Readonly<Record<DoctorCode, string>> = {
  NODE_VERSION: 'a supported Node.js without known remote defects',
  TLS_UNVERIFIED: 'certificates are checked',
  INSPECTOR: 'nobody from outside can debug the process',
  ROOT: 'the process gives up root',
  CLOCK: 'the clock is right',
  FILE_DESCRIPTORS: 'enough open files',
  SOMAXCONN: 'room for connections that wait to be accepted',
  SOCKET_TRANSFER: 'sockets can be moved between threads',
  CONFIGURATION_FILE: 'only its owner can change the configuration file',
  FOLDERS: 'the folders of its files exist, and only their owner can write there',
  UPGRADE_SOCK: 'only its owner can take the place of the upgrade socket',
  GRACE_PERIOD: 'running requests have time to finish',
  REUSE_PORT: 'worker threads can bind what they are to accept on',
  KEYLOG: 'no TLS secrets are written to a file',
  CONNECTIONS_MAX: 'the caps of connections are within the limit of open files',
  CERTIFICATE: 'certificates are valid, and will be for two weeks',
  CLIENT_AUTHORITIES: 'who signs the certificates of clients may still do so',
  KEY_FILE: 'only its owner and group can read a private key',
  TICKET_KEYS: 'fixed ticket keys are random',
  PROXY_PROTOCOL: 'not everybody can say who he is',
}

/** The name of a check. Never renamed or reused. */
export type DoctorCode =
  | 'NODE_VERSION'
  | 'TLS_UNVERIFIED'
  | 'INSPECTOR'
  | 'ROOT'
  | 'CLOCK'
  | 'FILE_DESCRIPTORS'
  | 'SOMAXCONN'
  | 'SOCKET_TRANSFER'
  | 'CONFIGURATION_FILE'
  | 'FOLDERS'
  | 'UPGRADE_SOCK'
  | 'GRACE_PERIOD'
  | 'REUSE_PORT'
  | 'KEYLOG'
  | 'CONNECTIONS_MAX'
  | 'CERTIFICATE'
  | 'CLIENT_AUTHORITIES'
  | 'KEY_FILE'
  | 'TICKET_KEYS'
  | 'PROXY_PROTOCOL'

/** Something that an operator should change. */
export interface DoctorFinding {
  readonly code: DoctorCode
  /** `error`: do not serve like this. `warning`: it may be meant. */
  readonly level: 'error' | 'warning'
  /** What is wrong, and what to do. */
  readonly message: string
}

/**
 * Findings as text, a line for each check: `ok`, or each finding that it has.
 *
 * @example
 * ok       CLOCK: the clock is right
 * warning  FILE_DESCRIPTORS: Only 1024 files may be open, …
 */
export function doctorReport(findings: readonly DoctorFinding[]): string {
  const lines = Object.entries(DOCTOR_CHECKS).flatMap(([code, title]) => {
    const own = findings.filter((finding) => finding.code === code)
    if (own.length === 0) return [`ok       ${code}: ${title}`]
    return own.map(({ level, message }) => `${level.padEnd(8)} ${code}: ${message}`)
  })
  const errors = findings.filter(({ level }) => level === 'error').length
  const warnings = findings.length - errors
  return `${lines.join('\n')}\n${count(errors, 'error')}, ${count(warnings, 'warning')}\n`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
