/** How often a phase runs. */
export type PhaseFrequency = 'service' | 'request' | 'attempt' | 'head' | 'chunk' | 'failure'

/** One stage of a request: the name of the hook, and when it runs. */
export interface PhaseInfo {
  readonly name: string
  readonly frequency: PhaseFrequency
  /** What it is for, in a few words. */
  readonly purpose: string
}

function phase(name: string, frequency: PhaseFrequency, purpose: string): PhaseInfo {
  return Object.freeze({ name, frequency, purpose })
}

/**
 * Every phase, in the order in which a request meets them. The names are the hooks of `ProxyHttp`. Modules see
 * a request between `earlyRequestFilter` and `requestFilter`, its body before `requestBodyFilter`, and each part
 * of the response after the last hook that does; modules for upstreams see it before the first. The cache's own phases have their place between `requestFilter`
 * and `proxyUpstreamFilter`, and between `upstreamResponseFilter` and `responseFilter`.
 */
export const PHASES: readonly PhaseInfo[] = Object.freeze([
  phase('initDownstreamModules', 'service', 'Add the modules that requests and responses pass'),
  phase('initUpstreamModules', 'service', 'Add the modules that responses of upstreams pass'),
  phase('newCtx', 'request', 'Make the context of this request'),
  phase('onConnectionReuse', 'request', 'Take over what the previous request of the connection left'),
  phase('earlyRequestFilter', 'request', 'Prepare, before any other work'),
  phase('requestFilter', 'request', 'Check, limit, answer by yourself'),
  phase('proxyUpstreamFilter', 'request', 'Decide whether to go upstream at all'),
  phase('upstreamPeer', 'attempt', 'Choose the peer'),
  phase('failToConnect', 'failure', 'Judge a failed connect: retry or not'),
  phase('connectedToUpstream', 'attempt', 'See the connection that will carry the request'),
  phase('upstreamRequestFilter', 'attempt', 'Edit the request head that is sent'),
  phase('requestBodyFilter', 'chunk', 'Edit the request body'),
  phase('adjustUpstreamModules', 'attempt', 'Tell the modules for upstreams what to do'),
  phase('upstreamResponseFilter', 'head', 'Edit the response head as received'),
  phase('responseFilter', 'head', 'Edit the response head that the client gets'),
  phase('upstreamResponseBodyFilter', 'chunk', 'Edit the response body as received'),
  phase('responseBodyFilter', 'chunk', 'Edit the response body that the client gets'),
  phase('upstreamResponseTrailerFilter', 'request', 'Edit the trailers as received'),
  phase('responseTrailerFilter', 'request', 'Edit the trailers that the client gets'),
  phase('errorWhileProxy', 'failure', 'Judge a failed attempt: retry or not'),
  phase('failToProxy', 'failure', 'Answer a request that failed for good'),
  phase('suppressErrorLog', 'failure', 'Keep an error out of the log'),
  phase('requestSummary', 'failure', 'Name the request in the error log'),
  phase('logging', 'request', 'Account for the request'),
  phase('persistConnectionContext', 'request', 'Leave something for the next request of the connection'),
])
