export { MetricsService, type MetricsServiceOptions, metricsService } from './metrics-service.ts'
export {
  DURATION_BUCKETS_DEFAULT,
  ProxyMetrics,
  type ProxyMetricsOptions,
  proxyMetrics,
} from './proxy-metrics.ts'
export type { WatchedBalancer, WatchedService } from './watched.ts'
