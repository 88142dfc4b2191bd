import type { TLSSocket } from 'node:tls'

/** The connection's certificate serves this host, as far as can be told. */
export const HOST_SERVED = 0
/** The certificate of the connection is for other names. */
export const HOST_NOT_COVERED = 1
/** A client of this host is asked for another certificate of its own than that of this connection was. */
export const HOST_ASKS_OTHERWISE = 2

/** What a TLS connection may be used for. */
export type HostVerdict = typeof HOST_SERVED | typeof HOST_NOT_COVERED | typeof HOST_ASKS_OTHERWISE

/** Judges the hosts that the requests of one connection are for: host names in normal form, undefined for addresses. */
export interface HostScope {
  judgeHost(host: string | undefined): HostVerdict
}

const scopes: WeakMap<TLSSocket, HostScope> = new WeakMap()

/** Remembers what a connection may be used for. */
export function setHostScope(socket: TLSSocket, scope: HostScope): void {
  scopes.set(socket, scope)
}

/** Undefined for a connection of a listener that has one certificate for all. */
export function hostScopeOf(socket: TLSSocket): HostScope | undefined {
  return scopes.get(socket)
}

/** Whether the names of a certificate, some of which may be `*.domain`, cover a host. */
export function namesCover(names: readonly string[], host: string): boolean {
  const dot = host.indexOf('.')
  const parent = dot < 0 ? undefined : `*${host.slice(dot)}`
  return names.some((name) => {
    const lower = name.toLowerCase()
    return lower === host || lower === parent
  })
}
