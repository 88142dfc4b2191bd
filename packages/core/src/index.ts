export {
  ADDRESS_CACHE_ENTRIES_MAX,
  type Address,
  type ParseAddressOptions,
  parseAddress,
  type TcpAddress,
  type UnixAddress,
} from './address.ts'
export {
  CONFIGURATION_BYTES_MAX,
  createConfiguration,
  loadConfiguration,
  parseConfiguration,
} from './configuration/configuration.ts'
export { ConfigurationError, type ConfigurationIssue } from './configuration/configuration-error.ts'
export type { ConfigurationInput, ServerConfiguration } from './configuration/server-configuration.ts'
export { DOCTOR_CHECKS, type DoctorCode, type DoctorFinding, doctorReport } from './doctor/finding.ts'
export { listsEntityTag, notModifiedFilter, toNotModified } from './downstream/conditional.ts'
export {
  type HealthAnswer,
  type HealthProbe,
  HealthService,
  type HealthServiceOptions,
  healthService,
} from './downstream/health-service.ts'
export { HttpServerApp, type HttpServerHandler, type HttpServerStats } from './downstream/http-server-app.ts'
export {
  type HttpServerConfiguration,
  type HttpServerOptions,
  httpServerOptions,
  type ResolvedHttpServerOptions,
} from './downstream/http-server-options.ts'
export {
  BODY_BYTES_MAX_DEFAULT,
  declaredLength,
  HttpSession,
  type ReadBodyOptions,
  type ResponseInit,
} from './downstream/http-session.ts'
export { RequestBody } from './downstream/request-body.ts'
export {
  type ServeHttp,
  type ServeHttpErrorListener,
  type ServeHttpOptions,
  serveHttp,
} from './downstream/serve-http.ts'
export type { Http2Counts } from './http2/counts.ts'
export type { ConnectionCounters } from './listening/connection-counters.ts'
export type { ConnectionFilter } from './listening/connection-filter.ts'
export type { ConnectionMessage } from './listening/connection-intake.ts'
export type {
  ListenerConfig,
  ListenerSocketOptions,
  TcpListenerOptions,
  UnixListenerOptions,
} from './listening/listener-options.ts'
export { ListeningService } from './listening/listening-service.ts'
export type { ListeningServiceOptions } from './listening/listening-service-options.ts'
export {
  type LogFields,
  type Logger,
  type LogLevel,
  type StderrLoggerOptions,
  silentLogger,
  stderrLogger,
} from './logger.ts'
export type {
  ResponseCompressionOptions,
  ResponseCompressionStats,
} from './modules/compression-settings.ts'
export {
  type AcceptedCodings,
  acceptedCodings,
  type ContentCoding,
  chooseCoding,
} from './modules/content-coding.ts'
export { GrpcWeb, grpcWeb } from './modules/grpc-web.ts'
export type {
  HttpModule,
  HttpModuleBuilder,
  HttpModuleClass,
  ModuleBodyResult,
  ModuleBytes,
} from './modules/http-module.ts'
export { HTTP_MODULES_MAX, HttpModuleContext, HttpModules } from './modules/http-modules.ts'
export { ModuleResponse, type ModuleResponseSink } from './modules/module-response.ts'
export { ModuleSession, type ModuleSessionOwner } from './modules/module-session.ts'
export {
  type CompressionInfo,
  RESPONSE_COMPRESSION_ORDER,
  ResponseCompression,
  type ResponseCompressionBuilder,
  responseCompression,
} from './modules/response-compression.ts'
export { Places } from './places.ts'
export type { ProxyProtocolOptions } from './proxy-protocol/listener-option.ts'
export { clientAddressOf, proxyHeaderOf } from './proxy-protocol/proxied-sockets.ts'
export type { ProxyEndpoint, ProxyHeader, ProxyTlv, ProxyTransport } from './proxy-protocol/proxy-header.ts'
export {
  PROXY_HEADER_BYTES_MAX_DEFAULT,
  type ProxyHeaderResult,
  type ReadProxyHeaderOptions,
  readProxyHeader,
} from './proxy-protocol/read-header.ts'
export { type ProxyTlsFacts, type ProxyTlvFacts, proxyTlvFacts } from './proxy-protocol/tlv-facts.ts'
export {
  type ProxyHeaderForOptions,
  proxyHeaderFor,
  type WriteProxyHeaderOptions,
  writeProxyHeader,
} from './proxy-protocol/write-header.ts'
export { proxyTlvsFor } from './proxy-protocol/write-tlvs.ts'
export { type PhaseMessage, Server } from './server/server.ts'
export {
  type ParsedServerArguments,
  type ParseServerArgumentsOptions,
  parseServerArguments,
  type ServerArguments,
  ServerArgumentsError,
} from './server/server-arguments.ts'
export type { RunOptions, ServerOptions } from './server/server-options.ts'
export type { ServerPhase } from './server/server-phase.ts'
export { checkRuntime, type RuntimeFacts, type RuntimeFinding } from './server/server-runtime.ts'
export type { ShutdownKind } from './server/server-urgency.ts'
export {
  type BackgroundService,
  type BackgroundTask,
  backgroundService,
  type ConnectionInfo,
  type ExportedListener,
  type InheritedListener,
  type InheritedListeners,
  type ReceivedDatagram,
  type ServerApp,
  type Service,
  type ServiceContext,
  type WorkerContext,
} from './server/service.ts'
export type { ServiceHandle } from './server/service-graph.ts'
export { type SuperviseOptions, supervise } from './server/supervisor.ts'
export { ClientSession, type ClientSessionHandler } from './sessions/client-session.ts'
export { ServerSession, type ServerSessionHandler } from './sessions/server-session.ts'
export {
  WRITE_DONE,
  WRITE_FULL,
  WRITE_PAUSE,
  WRITE_RETAINED,
  type WriteResult,
} from './sessions/write-result.ts'
export { type ReadCallback, readInto } from './sockets/accepted-reads.ts'
export { connectionDigest } from './sockets/connection-digest.ts'
export { cutConnection } from './sockets/cut-connection.ts'
export type { ConnectionDigest, ProxyDigest, TlsDigest } from './sockets/digest.ts'
export {
  type Answer,
  type AskOptions,
  SHARED_BUFFER_BYTES_MAX,
  SHARED_NAMES_MAX,
  SharedState,
  type SharedValue,
  type WorkerAnswer,
} from './threads/shared-state.ts'
export { THREADS_MAX, type ThreadCount } from './threads/thread-count.ts'
export type { ThreadInfo, ThreadMessage } from './threads/thread-info.ts'
export type { CertificateFacts } from './tls/certificate-facts.ts'
export type { ClientCertificates } from './tls/client-certificates.ts'
export type { OnHandshakeComplete } from './tls/handshake-complete.ts'
export type { TlsStats } from './tls/handshake-counts.ts'
export type { TlsIdentity } from './tls/identity.ts'
export type { TlsCertificate, TlsListenerOptions, TlsReloadEvent } from './tls/listener-options.ts'
export type { TlsProfile } from './tls/profile.ts'
export type { LoadCertificate, RuntimeCertificateOptions } from './tls/runtime-certificates.ts'
export type { LoadedCertificate } from './tls/runtime-policies.ts'
export { TicketKeys, type TicketKeysOptions } from './tls/ticket-keys.ts'
export { datagramDescriptor, stopReceiving } from './upgrade/datagrams.ts'
export type { ConnectHandler, PendingConnect } from './upstream/connect-handler.ts'
export { Connector, type SessionOptions } from './upstream/connector.ts'
export type { ConnectorStats, PoolMessage } from './upstream/connector-counts.ts'
export type { ConnectorOptions } from './upstream/connector-options.ts'
export {
  DnsCache,
  type DnsCacheOptions,
  type ResolveAnswer,
  type ResolvedAddress,
} from './upstream/dns-cache.ts'
export { HttpPeer, type LeasedAddress, type PeerAddress, type PeerOutcome } from './upstream/peer.ts'
export type {
  CustomConnect,
  HttpPeerOptions,
  NextHopProxy,
  ResolvedPeerOptions,
} from './upstream/peer-options.ts'
