// Whatever is no option of ours, or no value for one, must be answered where it is given, with its name: nothing is
// ignored, and nothing fails later, within a request.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as log from '../../packages/access-log/src/index.ts'
import * as core from '../../packages/core/src/index.ts'
import * as ketama from '../../packages/ketama/src/index.ts'
import * as limits from '../../packages/limits/src/index.ts'
import * as lb from '../../packages/load-balancing/src/index.ts'
import * as mem from '../../packages/memory-cache/src/index.ts'
import * as otel from '../../packages/opentelemetry/src/index.ts'
import * as pool from '../../packages/pool/src/index.ts'
import * as prom from '../../packages/prometheus/src/index.ts'
import * as proxy from '../../packages/proxy/src/index.ts'
import * as stream from '../../packages/stream-proxy/src/index.ts'
import * as timeout from '../../packages/timeout/src/index.ts'
import * as ufo from '../../packages/tinyufo/src/index.ts'
import { filesUnder, root } from '../workspace.ts'

type Make = (options: never) => unknown
type Target = readonly [name: string, interfaces: readonly string[], make: Make, needed?: object]

/** The options of each interface and their types, as the sources have them. */
const interfaces = new Map<string, [name: string, type: string][]>()
for (const file of filesUnder(join(root, 'packages'), '.ts')) {
  if (!/[/\\]src[/\\]/.test(file)) continue
  for (const [, owner = '', body = ''] of readFileSync(file, 'utf8').matchAll(
    /^(?:export )?interface (\w+)[^{]*\{\n([\s\S]*?)^\}/gm,
  )) {
    const options = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:\s*([^\n]+)$/gm)]
    interfaces.set(
      owner,
      options.map(([, name = '', type = '']) => [name, type]),
    )
  }
}

const app = { upstreamPeer: () => new core.HttpPeer('127.0.0.1:1') }
const configuration = core.createConfiguration()
const noApp = { onConnection() {}, startDraining() {} }
const destination: log.LogDestination = {
  write: () => true,
  reopen: async () => {},
  close: async () => {},
  destroy() {},
  stats: () => ({ writtenCount: 0, droppedCount: 0, waitingBytes: 0 }),
}
const targets: readonly Target[] = [
  [
    'LoadBalancer.fromAddresses',
    ['LoadBalancerOptions'],
    (o) => lb.LoadBalancer.fromAddresses(['127.0.0.1:1'], lb.roundRobin(), o),
  ],
  ['Backend', ['BackendOptions'], (o) => new lb.Backend('127.0.0.1:1', o)],
  ['DnsDiscovery', ['DnsOptions'], (o) => new lb.DnsDiscovery('a.example:80', o)],
  ['SrvDiscovery', ['SrvDiscoveryOptions', 'DnsOptions'], (o) => new lb.SrvDiscovery('_a._tcp.example', o)],
  ['FileDiscovery', ['FileDiscoveryOptions'], (o) => new lb.FileDiscovery('/tmp/x', o)],
  ['HttpHealthCheck', ['HttpHealthCheckOptions'], (o) => new lb.HttpHealthCheck(o), {}],
  ['TcpHealthCheck', ['TcpHealthCheckOptions'], (o) => new lb.TcpHealthCheck(o)],
  [
    'setHealthCheck',
    ['HealthCheckOptions'],
    (o) =>
      lb.LoadBalancer.fromAddresses(['127.0.0.1:1'], lb.roundRobin()).setHealthCheck(
        new lb.TcpHealthCheck(),
        o,
      ),
  ],
  ['RetryBudget', ['RetryBudgetOptions'], (o) => new lb.RetryBudget(o)],
  ['boundedLoad', ['BoundedLoadOptions'], (o) => lb.boundedLoad(lb.ketama(), o)],
  ['ketama()', ['KetamaOptions'], (o) => lb.ketama(o)],
  ['maglev', ['MaglevOptions'], (o) => lb.maglev(o)],
  ['StickySessions', ['StickyOptions'], (o) => new lb.StickySessions(o), { secrets: ['x'.repeat(32)] }],
  ['ConnectionPool', ['PoolOptions', 'EntryOptions'], (o) => new pool.ConnectionPool(o)],
  ['Gcra', ['GcraOptions'], (o) => new limits.Gcra(o), { limit: 1, windowMs: 1000 }],
  [
    'SlidingWindow',
    ['SlidingWindowOptions'],
    (o) => new limits.SlidingWindow(o),
    { limit: 1, windowMs: 1000 },
  ],
  [
    'TokenBucket',
    ['TokenBucketOptions'],
    (o) => new limits.TokenBucket(o),
    { capacity: 1, tokensPerSecond: 1 },
  ],
  ['Rate', ['RateOptions', 'SketchOptions'], (o) => new limits.Rate(o), { intervalMs: 1000 }],
  ['Inflight', ['InflightOptions', 'SketchOptions'], (o) => new limits.Inflight(o)],
  ['ConcurrencyLimit', ['ConcurrencyLimitOptions'], (o) => new limits.ConcurrencyLimit(o), { limit: 1 }],
  ['MemoryCache', ['MemoryCacheOptions'], (o) => new mem.MemoryCache(o)],
  [
    'ReadThroughCache',
    ['ReadThroughOptions', 'MemoryCacheOptions'],
    (o) => new mem.ReadThroughCache(o),
    { load: () => undefined },
  ],
  ['TinyUfo', ['TinyUfoOptions'], (o) => new ufo.TinyUfo(o), { weightLimit: 5 }],
  ['Continuum', ['ContinuumOptions'], (o) => new ketama.Continuum([{ address: 'a:1' }], o)],
  ['Continuum bucket', ['Bucket'], (o) => new ketama.Continuum([o]), { address: 'a:1' }],
  ['TimerWheel', ['TimerWheelOptions'], (o) => new timeout.TimerWheel(o)],
  ['accessLog', ['AccessLogOptions'], (o) => log.accessLog(o), { destination }],
  ['fileDestination', ['FileDestinationOptions'], (o) => log.fileDestination(2, o)],
  ['syslogDestination', ['SyslogDestinationOptions'], (o) => log.syslogDestination(o), { transport: 'tcp' }],
  ['proxyMetrics', ['ProxyMetricsOptions'], (o) => prom.proxyMetrics(o)],
  ['metricsService', ['MetricsServiceOptions'], (o) => prom.metricsService(prom.proxyMetrics().registry, o)],
  ['openTelemetry', ['OpenTelemetryOptions'], (o) => otel.openTelemetry(o)],
  ['HttpProxy', ['HttpProxyOptions'], (o) => new proxy.HttpProxy(configuration, app, o)],
  ['httpProxyService', ['HttpProxyServiceOptions'], (o) => proxy.httpProxyService(configuration, app, o)],
  ['server options', ['HttpServerOptions'], (o) => core.serveHttp(() => undefined, o)],
  ['Connector', ['ConnectorOptions'], (o) => new core.Connector(o)],
  ['DnsCache', ['DnsCacheOptions'], (o) => new core.Connector({ dns: o })],
  ['HttpPeer', ['HttpPeerOptions'], (o) => new core.HttpPeer('127.0.0.1:1', o)],
  ['forwarding', ['ForwardingOptions'], (o) => new proxy.HttpProxy(configuration, app, { forwarding: o })],
  [
    'connect',
    ['ConnectOptions'],
    (o) => new proxy.HttpProxy(configuration, app, { connect: o }),
    { allow: ['a:1'] },
  ],
  ['TokenRetryBudget', ['TokenRetryBudgetOptions'], (o) => new proxy.TokenRetryBudget(o)],
  ['responseCompression', ['ResponseCompressionOptions'], (o) => core.responseCompression(o)],
  ['healthService', ['HealthServiceOptions'], (o) => core.healthService(o)],
  ['TicketKeys', ['TicketKeysOptions'], (o) => new core.TicketKeys(o)],
  ['Server', ['ServerOptions'], (o) => new core.Server(o)],
  ['ListeningService', ['ListeningServiceOptions'], (o) => new core.ListeningService('x', noApp, o)],
  [
    'addTcp',
    ['TcpListenerOptions', 'ListenerSocketOptions'],
    (o) => new core.ListeningService('x', noApp).addTcp('127.0.0.1:0', o),
  ],
  [
    'tcpProxyService',
    ['TcpProxyOptions'],
    (o) => stream.tcpProxyService(configuration, { upstreamPeer: () => undefined as never }, o),
  ],
  ['StreamPeer', ['StreamPeerOptions'], (o) => new stream.StreamPeer('127.0.0.1:1', o)],
  ['stderrLogger', ['StderrLoggerOptions'], (o) => core.stderrLogger(o)],
]

/** What must be refused for an option of this type. */
function wrongFor(type: string): unknown[] {
  if (/^Readonly<Record</.test(type)) return [5, true, 'text']
  if (/ThreadCount|ServerArguments/.test(type)) return [Number.NaN, true, 'text']
  if (/\bboolean \| number\b/.test(type)) return ['5', {}]
  if (/^(?:readonly )?[\w(). |]+\[\]/.test(type)) return [5, {}, true]
  if (type.includes('=>')) return [5, {}, 'text']
  if (/\bboolean\b/.test(type)) return /[A-Z]/.test(type) ? [5, 'false'] : [5, 'false', {}]
  if (/\bfalse\b/.test(type)) return [5, 'text', true]
  if (/\bnumber\b/.test(type)) return [Number.NaN, '5', {}, true]
  if (/\bstring\b/.test(type)) return [5, {}, true]
  return [5, true, 'text']
}

function failureOf(make: Make, options: unknown): Error | undefined {
  try {
    make(options as never)
    return undefined
  } catch (error) {
    return error as Error
  }
}

function isAnswer(error: Error | undefined): boolean {
  const isKind =
    error instanceof TypeError || error instanceof RangeError || error?.name === 'ConfigurationError'
  return isKind && !/is not a function|Cannot (?:read prop|destr|conv)|is not iterable/.test(error.message)
}

for (const [name, owners, make, needed = {}] of targets) {
  describe(name, () => {
    test('takes what is needed, no option that it does not have, and options only', () => {
      expect(failureOf(make, needed)).toBeUndefined()
      for (const wrong of [{ ...needed, unheardOf: 1 }, null, 5, 'text', []]) {
        const error = failureOf(make, wrong)
        expect(isAnswer(error), `${JSON.stringify(wrong)}: ${error}`).toBe(true)
      }
    })

    const options = owners.flatMap(
      (owner) => interfaces.get(owner) ?? [[owner, 'is missing'] as [string, string]],
    )
    test.each(options)('%s: %s', (option, type) => {
      const left = wrongFor(type).filter(
        (wrong) => !isAnswer(failureOf(make, { ...needed, [option]: wrong })),
      )
      expect(left).toEqual([])
    })
  })
}
