export { ConnectionPool, type PoolStats } from './connection-pool.ts'
export type { EntryOptions, EvictReason, PoolOptions } from './options.ts'
export type { PoolEntry } from './pool-entry.ts'
