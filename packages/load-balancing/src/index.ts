export { Backend, type BackendLike, type BackendOptions, WEIGHT_MAX } from './backend.ts'
export type { ConnectionLease } from './connection-lease.ts'
export {
  type Discovery,
  type DiscoveryFunction,
  type DiscoveryResult,
  StaticDiscovery,
} from './discovery/discovery.ts'
export { type BalancerEvent, type BalancerListener, LISTENERS_MAX } from './events.ts'
export type { HealthCheckOptions } from './health/checker.ts'
export type { HealthCheck } from './health/health-check.ts'
export type { HealthThresholds } from './health/health-state.ts'
export { TcpHealthCheck, type TcpHealthCheckOptions } from './health/tcp.ts'
export type { Lease, Outcome } from './lease.ts'
export { LoadBalancer } from './load-balancer.ts'
export type { LoadBalancerOptions } from './options.ts'
export type { SelectOptions } from './pick.ts'
export type { Refusal, WaitOptions } from './queue.ts'
export type { CircuitBreakerOptions, CircuitBreakerState } from './resilience/circuit-breaker.ts'
export type { OutlierOptions } from './resilience/outlier.ts'
export { roundRobin } from './selection/round-robin.ts'
export type {
  BackendStatus,
  GroupStatus,
  Picker,
  Selection,
  SelectionInput,
  SelectionKey,
} from './selection/selection.ts'
export type { BackendSummary, BalancerSummary } from './summary.ts'
export type { UpdateTiming } from './updater.ts'
