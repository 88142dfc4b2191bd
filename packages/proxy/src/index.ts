export type { ProxyConfiguration } from './configured.ts'
export { CONNECT_ALLOW_MAX, type ConnectOptions } from './connect-tunnels.ts'
export type { ForwardingOptions } from './forwarding.ts'
export { HttpProxy, type HttpProxyOptions, type HttpProxyStats } from './http-proxy.ts'
export { HttpProxyService, type HttpProxyServiceOptions, httpProxyService } from './http-proxy-service.ts'
export type { AttemptMessage, RequestMessage } from './observing/channels.ts'
export type { ProxyObserver } from './observing/proxy-observer.ts'
export { PHASES, type PhaseFrequency, type PhaseInfo } from './phases.ts'
export type {
  Awaitable,
  BodyFilterResult,
  FailToProxy,
  OrNothing,
  ProxyHttp,
  UpstreamConnection,
} from './proxy-http.ts'
export { type Attempt, LIMIT_DECISIONS_MAX, type LimitDecision, type RequestRecord } from './record.ts'
export { type RetryPermission, TokenRetryBudget, type TokenRetryBudgetOptions } from './retry/retry-budget.ts'
export { type BufferBodyOptions, Session } from './session.ts'
