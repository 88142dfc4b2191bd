import { isPromise } from '../is-promise.ts'
import type { Logger } from '../logger.ts'
import { readAuthorities, readRevocations } from './authorities.ts'
import type { ClientPolicy, ClientTrust } from './client-certificates.ts'
import { digestOf, type FollowedGroup } from './followed-files.ts'
import { type CheckedIdentity, checkIdentity, timeProblem } from './identity.ts'
import type { TlsReloadEvent } from './listener-options.ts'
import type { Site } from './sites.ts'

/** Who uses what was read again. */
export interface TlsReloadHost {
  readonly address: string
  readonly logger: Logger
  readonly onReload: ((event: TlsReloadEvent) => void) | undefined
  /** Serves the certificate from now on. A throw changes nothing. */
  replaceCertificate(site: Site, checked: CheckedIdentity): void
  /** Has new handshakes trust others. A throw changes nothing. */
  replaceTrust(clients: ClientPolicy, trust: ClientTrust): void
}

/** The files of a certificate and its key, which are served once they go together. */
export function followSite(site: Site, host: TlsReloadHost): FollowedGroup[] {
  if (site.files === undefined) return []
  const { passphrase } = site
  const { certFile, paths } = site.files
  const { address, logger } = host
  const { cert, key } = site.checked.identity
  return [
    {
      paths,
      digest: digestOf([cert, key]),
      take([cert, key]) {
        const identity = { cert: cert as Buffer, key: key as Buffer }
        const checked = checkIdentity(passphrase === undefined ? identity : { ...identity, passphrase })
        const problem = timeProblem(checked, Date.now())
        if (problem !== undefined) throw new Error(problem)
        host.replaceCertificate(site, checked)
        const { validToMs } = checked
        const serverNames = site.serverNames ?? checked.names
        logger.info('Certificate reloaded', { address, certFile, validTo: new Date(validToMs).toISOString() })
        tell(host, {
          kind: 'reloaded',
          certFile,
          caFile: undefined,
          serverNames,
          validToMs,
          error: undefined,
        })
      },
      reject(error) {
        logger.error('Certificate not reloaded, the old one stays', { address, certFile, error })
        tell(host, { ...REJECTED, certFile, caFile: undefined, error })
      },
    },
  ]
}

/** The files of those who sign clients, and of what they have revoked. */
export function followClients(clients: ClientPolicy, host: TlsReloadHost): FollowedGroup[] {
  const { caFile, crlFile, trust: first } = clients
  const { address, logger } = host
  const file = caFile ?? crlFile
  if (file === undefined) return []
  const shown = { ...(caFile === undefined ? {} : { caFile }), ...(crlFile === undefined ? {} : { crlFile }) }
  return [
    {
      paths: clients.paths,
      digest: clients.filesDigest,
      take(contents) {
        const ca = caFile === undefined ? first.ca : readAuthorities(contents[0] as Buffer)
        const crl = crlFile === undefined ? first.crl : readRevocations(contents.at(-1) as Buffer)
        host.replaceTrust(clients, { ca, crl })
        logger.info('Authorities of client certificates reloaded', { address, ...shown })
        tell(host, {
          kind: 'reloaded',
          certFile: undefined,
          caFile: file,
          serverNames: [],
          validToMs: undefined,
          error: undefined,
        })
      },
      reject(error) {
        logger.error('Authorities of client certificates not reloaded, the old ones stay', {
          address,
          ...shown,
          error,
        })
        tell(host, { ...REJECTED, certFile: undefined, caFile: file, error })
      },
    },
  ]
}

const REJECTED = { kind: 'rejected', serverNames: [], validToMs: undefined } as const

function tell({ onReload }: TlsReloadHost, event: TlsReloadEvent): void {
  try {
    const answer: unknown = onReload?.(event)
    if (isPromise(answer)) Promise.resolve(answer).catch(() => undefined)
  } catch {
    // A listener for events must not stop the next file from being read.
  }
}
