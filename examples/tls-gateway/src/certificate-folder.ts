import { existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TlsCertificate, TlsIdentity, TlsListenerOptions } from '@cirque/core'

/** What a folder of certificates makes of a listener. Throws if it cannot be read. */
export function certificateFolder(folder: string): TlsListenerOptions {
  const filesOf = (name: string) => ({
    certFile: join(folder, `${name}.pem`),
    keyFile: join(folder, `${name}.key`),
  })
  const names = readdirSync(folder).flatMap((file) => /^(.+)\.pem$/.exec(file)?.[1] ?? [])
  const certificates = names
    .filter((name) => name !== 'default')
    .map((name): TlsCertificate => ({ ...filesOf(name), serverNames: [name.replace(/^_\./, '*.')] }))
  return {
    ...(names.includes('default') ? filesOf('default') : {}),
    certificates,
    // For names that came after the start. The name is fit for a path: see the docs of `loadCertificate`.
    async loadCertificate(serverName): Promise<TlsIdentity | undefined> {
      const { certFile, keyFile } = filesOf(serverName)
      if (serverName === 'default' || !existsSync(certFile)) return undefined
      const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
      return { cert, key }
    },
  }
}
