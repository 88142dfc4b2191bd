import type { TLSSocket } from 'node:tls'

/** The TLS handshakes with clients in this thread so far. */
export interface TlsStats {
  /** Complete ones by version, as Node names it: `TLSv1.3`. */
  readonly versions: Readonly<Record<string, number>>
  /** Those of them that resumed an earlier session. */
  readonly resumedCount: number
  /** Handshakes that failed or took too long, and clients that were refused. */
  readonly failedCount: number
}

/** Counts the handshakes of one listener. */
export class HandshakeCounts {
  readonly versions: Map<string, number> = new Map()
  resumedCount = 0
  failedCount = 0

  completed(socket: TLSSocket): void {
    const version = socket.getProtocol() ?? 'unknown'
    this.versions.set(version, (this.versions.get(version) ?? 0) + 1)
    if (socket.isSessionReused()) this.resumedCount += 1
  }
}

/** What several listeners have counted. */
export function sumOfHandshakes(all: Iterable<HandshakeCounts>): TlsStats {
  const versions: Record<string, number> = {}
  let resumedCount = 0
  let failedCount = 0
  for (const counts of all) {
    for (const [version, count] of counts.versions) versions[version] = (versions[version] ?? 0) + count
    resumedCount += counts.resumedCount
    failedCount += counts.failedCount
  }
  return { versions, resumedCount, failedCount }
}
