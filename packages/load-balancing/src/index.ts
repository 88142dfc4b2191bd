export { Backend, type BackendLike, type BackendOptions, WEIGHT_MAX } from './backend.ts'
export type { ConnectionLease } from './connection-lease.ts'
export {
  type Discovery,
  type DiscoveryFunction,
  type DiscoveryResult,
  StaticDiscovery,
} from './discovery/discovery.ts'
export {
  type AddressRecord,
  DnsDiscovery,
  type DnsLookup,
  type DnsOptions,
  type ServiceRecord,
  SrvDiscovery,
  type SrvDiscoveryOptions,
} from './discovery/dns.ts'
export { FileDiscovery, type FileDiscoveryOptions } from './discovery/file.ts'
export { type BalancerEvent, type BalancerListener, type HealthMessage, LISTENERS_MAX } from './events.ts'
export type { HealthCheckOptions } from './health/checker.ts'
export type { HealthCheck } from './health/health-check.ts'
export type { HealthThresholds } from './health/health-state.ts'
export {
  type HealthCheckResponse,
  HttpHealthCheck,
  type HttpHealthCheckOptions,
} from './health/http.ts'
export { TcpHealthCheck, type TcpHealthCheckOptions } from './health/tcp.ts'
export type { Lease, Outcome } from './lease.ts'
export { LoadBalancer } from './load-balancer.ts'
export type { LoadBalancerOptions } from './options.ts'
export type { SelectOptions } from './pick.ts'
export type { Refusal, WaitOptions } from './queue.ts'
export type { CircuitBreakerOptions, CircuitBreakerState } from './resilience/circuit-breaker.ts'
export type { OutlierOptions } from './resilience/outlier.ts'
export { RetryBudget, type RetryBudgetOptions } from './resilience/retry-budget.ts'
export { type BoundedLoadOptions, boundedLoad } from './selection/bounded-load.ts'
export { fnvHash } from './selection/fnv-hash.ts'
export { type KetamaOptions, ketama } from './selection/ketama.ts'
export { leastRequests } from './selection/least-requests.ts'
export { type MaglevOptions, maglev } from './selection/maglev.ts'
export { random } from './selection/random.ts'
export { rendezvous } from './selection/rendezvous.ts'
export { roundRobin } from './selection/round-robin.ts'
export type {
  BackendStatus,
  GroupStatus,
  Picker,
  Selection,
  SelectionInput,
  SelectionKey,
} from './selection/selection.ts'
export { peakEwma, powerOfTwoChoices } from './selection/two-choices.ts'
export { type StickyChoice, type StickyOptions, StickySessions } from './sticky/sticky-sessions.ts'
export type { BackendSummary, BalancerSummary } from './summary.ts'
export type { UpdateTiming } from './updater.ts'
