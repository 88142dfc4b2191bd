import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const DATA = join(import.meta.dirname, '../../../core/test/data')
/** A certificate for localhost that signs itself. */
export const CERTIFICATE: { readonly key: Buffer; readonly cert: Buffer } = {
  key: readFileSync(join(DATA, 'localhost-key.pem')),
  cert: readFileSync(join(DATA, 'localhost.pem')),
}
/** The same, for listeners. */
export const CERTIFICATE_FILES: { readonly certFile: string; readonly keyFile: string } = {
  certFile: join(DATA, 'localhost.pem'),
  keyFile: join(DATA, 'localhost-key.pem'),
}
/** What a client of it has to know. */
export const AS_LOCALHOST: { readonly servername: string; readonly ca: Buffer } = {
  servername: 'localhost',
  ca: CERTIFICATE.cert,
}
