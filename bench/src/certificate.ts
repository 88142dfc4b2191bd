import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The certificate of every proxy, for `localhost`. See `data/README.md`. */
export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  /** Both in one file, as HAProxy wants them. */
  readonly bothFile: string
}

/** Finds the certificate, and writes into `directory` what no proxy takes as it is. */
export async function prepareCertificate(key: 'ec' | 'rsa', directory: string): Promise<Certificate> {
  const data = join(import.meta.dirname, '../data')
  const certFile = join(data, `${key}.pem`)
  const keyFile = join(data, `${key}-key.pem`)
  const bothFile = join(directory, `${key}-both.pem`)
  await mkdir(directory, { recursive: true })
  await writeFile(bothFile, `${await readFile(certFile, 'utf8')}${await readFile(keyFile, 'utf8')}`)
  return { certFile, keyFile, bothFile }
}
