// The prelude: what most programs need. Everything else is one level down: `cirque/core`, `cirque/limits`, …
export {
  backgroundService,
  type ConnectionDigest,
  HttpPeer,
  type HttpPeerOptions,
  HttpSession,
  ListeningService,
  type Logger,
  Server,
  type ServerConfiguration,
  type Service,
  serveHttp,
} from '@cirque/core'
export { displayError, isProxyError, ProxyError } from '@cirque/error'
export { RequestHeader, ResponseHeader } from '@cirque/http'
export { Gcra, Inflight, Rate } from '@cirque/limits'
export {
  Backend,
  HttpHealthCheck,
  ketama,
  LoadBalancer,
  leastRequests,
  powerOfTwoChoices,
  roundRobin,
  TcpHealthCheck,
} from '@cirque/load-balancing'
export { ReadThroughCache } from '@cirque/memory-cache'
export { HttpProxy, httpProxyService, type ProxyHttp, type Session } from '@cirque/proxy'
