/** What the client speaks with the proxy, and the proxy with the origin. */
export type Protocol = 'h1' | 'tls' | 'h2' | 'h1-h2' | 'h2-h2' | 'grpc'

/**
 * How a client uses its connections: many requests on each, a new connection for every request, or a new one that
 * resumes the TLS session of the one before. `upload`: many requests on each, whose bodies go up; the answers are small.
 */
export type Mode = 'keep-alive' | 'close' | 'resume' | 'upload'

/** What a proxy has to be started with. Cases of the same setup share its process. */
export interface Setup {
  /** The client's side: TLS with HTTP/2 and HTTP/1.1, or cleartext HTTP/1.1. */
  tls: boolean
  /** The origin's side, in cleartext. */
  upstream: 'h1' | 'h2' | 'grpc'
  /** Threads or processes that serve. */
  threads: number
}

const SIDES: Readonly<Record<Protocol, Omit<Setup, 'threads'>>> = {
  h1: { tls: false, upstream: 'h1' },
  tls: { tls: true, upstream: 'h1' },
  h2: { tls: true, upstream: 'h1' },
  'h1-h2': { tls: false, upstream: 'h2' },
  'h2-h2': { tls: true, upstream: 'h2' },
  grpc: { tls: true, upstream: 'grpc' },
}

/** What a reader calls them. */
export const PROTOCOL_NAMES: Readonly<Record<Protocol, string>> = {
  h1: 'HTTP/1',
  tls: 'TLS, HTTP/1',
  h2: 'TLS, HTTP/2 to HTTP/1',
  'h1-h2': 'HTTP/1 to HTTP/2',
  'h2-h2': 'TLS, HTTP/2 to HTTP/2',
  grpc: 'TLS, gRPC unary',
}

export const PROTOCOLS: readonly Protocol[] = Object.keys(SIDES) as Protocol[]

/** What cleartext HTTP/1 on one thread needs. */
export const PLAIN_SETUP: Setup = { ...SIDES.h1, threads: 1 }

/** A combination to measure. */
export interface CasePlan {
  protocol: Protocol
  threads: number
  /** Of the response, or of the request if it is an upload. */
  bodyBytes: number
  /** Requests at once; HTTP/2 has eight of them on each connection. */
  connections: number
  mode: Mode
}

/** What a proxy needs for a case. */
export function setupOf({ protocol, threads }: Pick<CasePlan, 'protocol' | 'threads'>): Setup {
  return { ...SIDES[protocol], threads }
}

/** Requests at once on one HTTP/2 connection. */
export const STREAMS_PER_CONNECTION = 8

/** Where the origin takes bodies. */
export const UPLOAD_PATH = '/upload'

/** True for what the client speaks HTTP/2 for. */
export function isHttp2(protocol: Protocol): boolean {
  return protocol === 'h2' || protocol === 'h2-h2' || protocol === 'grpc'
}
