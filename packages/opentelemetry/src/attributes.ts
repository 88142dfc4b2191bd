import { COMMON_METHODS } from '@cirque/http'
import type { Attempt, Session } from '@cirque/proxy'
import type { Attributes } from '@opentelemetry/api'

/** As the conventions want it: whatever a client invents is `_OTHER`. */
export function methodOf(session: Session): string {
  const { method } = session.request
  return COMMON_METHODS.has(method) ? method : '_OTHER'
}

/** What a span is called when its method is one that nobody knows. */
export function nameOf(method: string): string {
  return method === '_OTHER' ? 'HTTP' : method
}

export function schemeOf(session: Session): 'http' | 'https' {
  return session.digest().tls === undefined ? 'http' : 'https'
}

export function protocolVersionOf(session: Session): string {
  return session.request.version.slice(5)
}

/** A request's facts, for its span. */
export function serverAttributes(session: Session, method: string, hasQuery: boolean): Attributes {
  const { request } = session
  const digest = session.digest()
  const attributes: Attributes = {
    'http.request.method': method,
    'url.path': request.path,
    'url.scheme': digest.tls === undefined ? 'http' : 'https',
    'network.protocol.version': protocolVersionOf(session),
  }
  if (method === '_OTHER') attributes['http.request.method_original'] = request.method
  if (hasQuery && request.query !== undefined) attributes['url.query'] = request.query
  const peer = digest.proxy ?? digest
  if (digest.remoteAddress !== undefined) attributes['client.address'] = digest.remoteAddress
  if (peer.remoteAddress !== undefined) attributes['network.peer.address'] = peer.remoteAddress
  if (peer.remotePort !== undefined) attributes['network.peer.port'] = peer.remotePort
  const agent = request.get('user-agent')
  if (agent !== undefined) attributes['user_agent.original'] = agent
  addHost(attributes, request.host)
  return attributes
}

function addHost(attributes: Attributes, host: string | undefined): void {
  const parts = host === undefined ? null : /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(host)
  if (parts === null || parts[1] === '') return
  attributes['server.address'] = parts[1] as string
  if (parts[2] !== undefined) attributes['server.port'] = Number(parts[2])
}

/** Where an attempt went; few enough values for metrics. */
export function peerAttributes(attempt: Attempt): Attributes {
  const address = attempt.peer?.address
  if (address === undefined) return {}
  return address.kind === 'tcp'
    ? { 'server.address': address.host, 'server.port': address.port }
    : { 'server.address': address.path }
}

/** The attempt's target without its query, which may hold secrets. */
export function fullUrl(session: Session, attempt: Attempt): string {
  const { peer } = attempt
  const scheme = peer?.options.tls === true ? 'https' : 'http'
  return `${scheme}://${peer?.address?.text ?? 'unknown'}${session.request.path}`
}

/** What kind of failure it was, or undefined: a code of ours, or a status. */
export function errorType(code: string | undefined, status: number, leastStatus: number): string | undefined {
  if (code !== undefined) return code
  return status >= leastStatus ? String(status) : undefined
}
