import { X509Certificate } from 'node:crypto'
import { type CheckedIdentity, timeProblem } from '../tls/identity.ts'
import { examineKeyFile } from './files.ts'
import type { DoctorFinding } from './finding.ts'

/** A certificate that a listener serves. */
export interface ExaminedCertificate {
  readonly checked: CheckedIdentity
  readonly files: { readonly certFile: string; readonly keyFile: string } | undefined
}

const DAY_MS = 86_400_000
const EXPIRES_SOON_MS: number = 14 * DAY_MS
/** Of 48 random bytes about 44 differ; fewer than this many are text, or a pattern. */
const TICKET_KEY_BYTES_LEAST: number = 30
/** Logs, the configuration, listening sockets, and what a process needs besides. */
const DESCRIPTORS_BESIDES: number = 100

/** Looks at a certificate's time and at who can read its key. */
export function examineCertificate(
  address: string,
  { checked, files }: ExaminedCertificate,
  nowMs: number,
): DoctorFinding[] {
  const findings = files === undefined ? [] : examineKeyFile(files.keyFile)
  const name = files?.certFile ?? checked.names[0] ?? 'the certificate'
  const problem = timeProblem(checked, nowMs)
  const days = Math.floor((checked.validToMs - nowMs) / DAY_MS)
  if (problem !== undefined) {
    findings.push({ code: 'CERTIFICATE', level: 'error', message: `${problem}: ${name}, on ${address}` })
  } else if (checked.validToMs - nowMs < EXPIRES_SOON_MS) {
    const message = `The certificate expires in ${days} day${days === 1 ? '' : 's'}: ${name}, on ${address}`
    findings.push({ code: 'CERTIFICATE', level: 'warning', message })
  }
  return findings
}

/** Looks at the time of those who sign clients: OpenSSL refuses every certificate of one that is over. */
export function examineAuthorities(
  address: string,
  authorities: readonly string[],
  nowMs: number,
): DoctorFinding[] {
  return authorities.flatMap((pem) => {
    const { subject, validTo } = new X509Certificate(pem)
    const leftMs = Date.parse(validTo) - nowMs
    if (leftMs >= EXPIRES_SOON_MS) return []
    const name = subject?.replaceAll('\n', ', ') ?? 'without a name'
    const days = Math.floor(leftMs / DAY_MS)
    const isOver = leftMs <= 0
    const message = `The authority ${name} of client certificates on ${address} ${isOver ? 'has expired: its clients are refused' : `expires in ${days} day${days === 1 ? '' : 's'}`}`
    return [
      {
        code: 'CLIENT_AUTHORITIES' as const,
        level: isOver ? ('error' as const) : ('warning' as const),
        message,
      },
    ]
  })
}

/** Looks at fixed ticket keys: whoever guesses them reads resumed sessions. */
export function examineTicketKeys(address: string, keys: Buffer): DoctorFinding[] {
  if (new Set(keys).size >= TICKET_KEY_BYTES_LEAST) return []
  const message = `ticketKeys of ${address} are not 48 random bytes: use crypto.randomBytes(48), or TicketKeys`
  return [{ code: 'TICKET_KEYS', level: 'error', message }]
}

/** Compares a cap with the limit of open files. Each proxied connection takes a second one upstream. */
export function examineConnectionsMax(
  service: string,
  connectionsMax: number,
  fileDescriptorsMax: number | undefined,
): DoctorFinding[] {
  if (fileDescriptorsMax === undefined) return []
  const message = `connectionsMax of ${service} is ${connectionsMax}, and ${fileDescriptorsMax} files may be open`
  const advice = 'raise "ulimit -n", or lower the cap'
  if (connectionsMax + DESCRIPTORS_BESIDES > fileDescriptorsMax) {
    return [
      { code: 'CONNECTIONS_MAX', level: 'error', message: `${message}: connections get lost; ${advice}` },
    ]
  }
  if (2 * connectionsMax + DESCRIPTORS_BESIDES > fileDescriptorsMax) {
    return [
      {
        code: 'CONNECTIONS_MAX',
        level: 'warning',
        message: `${message}: too few for a proxy, which takes two; ${advice}`,
      },
    ]
  }
  return []
}

/** Looks at a listener that believes every PROXY protocol header. */
export function examineProxyProtocol(address: string, trustsAll: boolean): DoctorFinding[] {
  if (!trustsAll || /^(?:127\.|localhost:|\[::1\]|unix:)/.test(address)) return []
  const message = `proxyProtocol.trusted of ${address} is 'any': name the proxies in front, unless a firewall does`
  return [{ code: 'PROXY_PROTOCOL', level: 'warning', message }]
}
