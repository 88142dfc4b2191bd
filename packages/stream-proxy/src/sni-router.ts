import { inspect } from 'node:util'
import { peerError } from '@cirque/error'
import { onlyKeys } from './check.ts'
import type { ClientHello } from './client-hello.ts'
import { checkPeekOptions, type PeekOptions, peekClientHello } from './peek.ts'
import { StreamPeer } from './stream-peer.ts'
import type { StreamProxy } from './stream-proxy.ts'
import type { StreamSession } from './stream-session.ts'

/** Where connections for a name go: a peer for all, or a function that is called once per attempt. */
export type SniRoute =
  | StreamPeer
  | ((session: StreamSession<SniContext>, hello: ClientHello) => StreamPeer | Promise<StreamPeer>)

/** The context of an {@link sniRouter}'s sessions. */
export interface SniContext {
  /** What the client asked for; undefined until it is read. */
  hello: ClientHello | undefined
}

/** Options of {@link sniRouter}. */
export interface SniRouterOptions extends PeekOptions {
  /** For names that no route has, and for clients that ask for none. Default: they are reset. */
  readonly fallback?: SniRoute
}

/** Most routes of one router. */
export const SNI_ROUTES_MAX: number = 100_000

/**
 * A TCP proxy that sends TLS connections where their SNI says, without ending TLS: it holds no key and sees no content.
 *
 * A name matches its own route first, then `*.` and its parent domain (one label for the star). A connection that is not
 * TLS is reset, also with a fallback.
 *
 * @param routes - By host name, such as `a.example`, or `*.a.example`.
 * @throws {TypeError} If a name or an option is not valid.
 * @throws {RangeError} If there are more than {@link SNI_ROUTES_MAX} routes, or a number is out of range.
 * @example
 * tcpProxyService(configuration, sniRouter({ 'a.example': new StreamPeer('10.0.0.1:443') })).addTcp('0.0.0.0:443')
 */
export function sniRouter(
  routes: Readonly<Record<string, SniRoute>>,
  options: SniRouterOptions = {},
): StreamProxy<SniContext> {
  onlyKeys('sniRouter', options, ['fallback', 'timeoutMs', 'helloBytesMax'])
  const { fallback, ...peek } = options
  const peekOptions = checkPeekOptions(peek)
  const table = tableOf(routes)
  if (fallback !== undefined) checkRoute('fallback', fallback)
  return {
    newCtx: () => ({ hello: undefined }),
    async connectionFilter(session, ctx) {
      ctx.hello = await peekClientHello(session.downstream, peekOptions)
      if (ctx.hello !== undefined) return true
      throw peerError('TLS_HANDSHAKE_FAILED', 'downstream', 'The client does not speak TLS')
    },
    upstreamPeer(session, ctx) {
      const hello = ctx.hello as ClientHello
      const route = find(table, hello.serverName) ?? fallback
      if (route === undefined) {
        const name = hello.serverName === undefined ? 'clients without SNI' : `"${hello.serverName}"`
        throw peerError('NO_PEER', 'downstream', `There is no route for ${name}`)
      }
      return typeof route === 'function' ? route(session, hello) : route
    },
  }
}

function find(table: ReadonlyMap<string, SniRoute>, name: string | undefined): SniRoute | undefined {
  if (name === undefined) return undefined
  const exact = table.get(name)
  if (exact !== undefined) return exact
  const dot = name.indexOf('.')
  return dot === -1 ? undefined : table.get(`*${name.slice(dot)}`)
}

function tableOf(routes: Readonly<Record<string, SniRoute>>): ReadonlyMap<string, SniRoute> {
  if (typeof routes !== 'object' || routes === null) {
    throw new TypeError(`Expected an object of routes, received ${inspect(routes)}`)
  }
  const entries = Object.entries(routes)
  if (entries.length > SNI_ROUTES_MAX) {
    throw new RangeError(`Expected at most ${SNI_ROUTES_MAX} routes, received ${entries.length}`)
  }
  const table: Map<string, SniRoute> = new Map()
  for (const [given, route] of entries) {
    const name = given.toLowerCase()
    if (!/^(?:\*\.)?[a-z0-9_][a-z0-9_-]*(?:\.[a-z0-9_-]+)*$/.test(name)) {
      throw new TypeError(`Expected a host name or "*." and one, received ${JSON.stringify(given)}`)
    }
    if (table.has(name)) throw new TypeError(`There are two routes for ${JSON.stringify(name)}`)
    checkRoute(`the route of ${name}`, route)
    table.set(name, route)
  }
  return table
}

function checkRoute(what: string, route: SniRoute): void {
  if (typeof route === 'function' || route instanceof StreamPeer) return
  throw new TypeError(`Expected ${what} to be a StreamPeer or a function, received ${inspect(route)}`)
}
