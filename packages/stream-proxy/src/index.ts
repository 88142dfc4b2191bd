export {
  CLIENT_HELLO_BYTES_MAX_DEFAULT,
  type ClientHello,
  type ClientHelloResult,
  readClientHello,
} from './client-hello.ts'
export { type PeekOptions, peekClientHello } from './peek.ts'
export {
  SNI_ROUTES_MAX,
  type SniContext,
  type SniRoute,
  type SniRouterOptions,
  sniRouter,
} from './sni-router.ts'
export { StreamPeer, type StreamPeerOptions } from './stream-peer.ts'
export type { StreamProxy } from './stream-proxy.ts'
export type { StreamSession } from './stream-session.ts'
export {
  type TcpProxyConfiguration,
  type TcpProxyOptions,
  type TcpProxyService,
  type TcpProxyStats,
  tcpProxyService,
} from './tcp-proxy.ts'
export { type UdpProxyService, udpProxyService } from './udp-proxy.ts'
export type { UdpListenerOptions, UdpProxy, UdpProxyOptions, UdpProxyStats } from './udp-proxy-options.ts'
export type { UdpSession } from './udp-session.ts'
