import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Logger } from '../logger.ts'
import { FileWatch } from './file-watch.ts'
import { type CheckedIdentity, checkIdentity, timeProblem } from './identity.ts'
import type { TlsReloadEvent } from './listener-options.ts'
import type { Site } from './sites.ts'

/** What a {@link SiteReload} works for. */
export interface SiteReloadHost {
  readonly address: string
  readonly logger: Logger
  readonly onReload: ((event: TlsReloadEvent) => void) | undefined
  /** Serves the certificate from now on. A throw changes nothing. */
  replace(site: Site, checked: CheckedIdentity): void
}

interface SiteFiles {
  readonly site: Site
  readonly certFile: string
  readonly keyFile: string
  /** Digests of what the files held, or the error of reading them: what is served, was judged last, was odd once. */
  servedState: string
  seenState: string
  doubtedState: string
}

/** Follows the files of certificates: what they hold next is served once certificate and key go together. */
export class SiteReload {
  readonly #host: SiteReloadHost
  readonly #files: readonly SiteFiles[]
  readonly #watch: FileWatch | undefined

  /** @param reloadMs - How often to look besides being told, see {@link FileWatch}; 0 never looks at all. */
  constructor(sites: readonly Site[], reloadMs: number, host: SiteReloadHost) {
    this.#host = host
    this.#files = reloadMs === 0 ? [] : sites.flatMap(filesOf)
    const paths = this.#files.flatMap(({ certFile, keyFile }) => [certFile, keyFile])
    this.#watch = paths.length === 0 ? undefined : new FileWatch(paths, reloadMs, () => this.#check())
  }

  /** Looks no longer. */
  close(): void {
    this.#watch?.close()
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    for (const files of this.#files) await this.#checkOne(files)
  }

  async #checkOne(files: SiteFiles): Promise<void> {
    const { site, certFile, keyFile } = files
    const { passphrase } = site
    let state = ''
    try {
      const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
      state = digestOf(cert, key)
      if (state !== files.servedState && state !== files.seenState) {
        const checked = checkIdentity({ cert, key, ...(passphrase === undefined ? {} : { passphrase }) })
        const problem = timeProblem(checked, Date.now())
        if (problem !== undefined) throw new Error(problem)
        this.#host.replace(site, checked)
        files.servedState = state
        this.#tell(files, undefined)
      }
      files.seenState = state
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      this.#doubt(files, state === '' ? error.message : state, error)
    }
  }

  /** Between the writing of two files there is nothing wrong yet: what is wrong is so when it is looked at again. */
  #doubt(files: SiteFiles, state: string, error: Error): void {
    if (state === files.seenState) return // told already
    if (state === files.doubtedState) {
      files.seenState = state
      this.#tell(files, error)
    } else {
      files.doubtedState = state
      this.#watch?.lookAgain()
    }
  }

  #tell({ site, certFile }: SiteFiles, error: Error | undefined): void {
    const { address, logger, onReload } = this.#host
    const isNew = error === undefined
    const { validToMs, names } = site.checked
    if (isNew) {
      const validTo = new Date(validToMs).toISOString()
      logger.info('Certificate reloaded', { address, certFile, validTo })
    } else logger.error('Certificate not reloaded, the old one stays', { address, certFile, error })
    try {
      onReload?.({
        kind: isNew ? 'reloaded' : 'rejected',
        certFile,
        serverNames: isNew ? (site.serverNames ?? names) : [],
        validToMs: isNew ? validToMs : undefined,
        error,
      })
    } catch {
      // A listener for events must not stop the next certificate from being read.
    }
  }
}

function filesOf(site: Site): SiteFiles[] {
  if (site.files === undefined) return []
  const { cert, key } = site.checked.identity
  const digest = digestOf(cert, key)
  return [{ site, ...site.files, servedState: digest, seenState: digest, doubtedState: '' }]
}

function digestOf(cert: string | Buffer, key: string | Buffer): string {
  const hash = createHash('sha256')
  for (const part of [cert, key]) hash.update(createHash('sha256').update(part).digest())
  return hash.digest('base64url')
}
