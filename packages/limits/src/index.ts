export type { Clock } from './clock.ts'
export {
  type AcquireOptions,
  ConcurrencyLimit,
  type ConcurrencyLimitOptions,
  type Permit,
} from './concurrency-limit.ts'
export { Decision, type LimitPolicy } from './decision.ts'
export { Estimator, type EstimatorOptions } from './estimator.ts'
export { Gcra, type GcraOptions } from './gcra.ts'
export { Inflight, type InflightGuard, type InflightOptions } from './inflight.ts'
export type { LimitKey } from './key-hash.ts'
export {
  FallbackLimitStore,
  type FallbackLimitStoreOptions,
  type LimitStore,
  type LocalLimit,
  MemoryLimitStore,
  type TakeOptions,
} from './limit-store.ts'
export type { MemoryOptions, TimedMemoryOptions } from './memory.ts'
export { proportionalRate, Rate, type RateComponents, type RateOptions } from './rate.ts'
export type { SketchOptions } from './sketch.ts'
export { SlidingWindow, type SlidingWindowOptions } from './sliding-window.ts'
export { TokenBucket, type TokenBucketOptions } from './token-bucket.ts'
export type { AcquireOutcome } from './waiter-queue.ts'
