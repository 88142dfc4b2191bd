import type { Connector, HttpModules, Logger, ServerSession } from '@cirque/core'
import type { ProxyError } from '@cirque/error'
import type { ConnectTunnels } from '../connect-tunnels.ts'
import type { Forwarding } from '../forwarding.ts'
import type { Watching } from '../observing/observers.ts'
import type { ProxyHttp } from '../proxy-http.ts'
import type { RetryPermission } from '../retry/retry-budget.ts'

/** The proxy, as its exchanges see it: what they share, and who hears of their end. */
export interface ExchangeHost<Ctx> {
  readonly app: ProxyHttp<Ctx>
  readonly connector: Connector
  /** Where failures are told. */
  readonly logger: Logger
  /** The `Server` field of generated responses. */
  readonly serverName: string
  /** Attempts per request, the first included. */
  readonly maxRetries: number
  readonly retryBufferBytesMax: number
  readonly retryStatuses: ReadonlySet<number>
  /** Undefined for no such limit. */
  readonly budget: RetryPermission | undefined
  readonly filterTimeoutMs: number
  readonly forwarding: Forwarding | undefined
  /** Which tunnels clients may open; undefined for none. */
  readonly tunnels: ConnectTunnels | undefined
  /** What requests and responses pass; null for nothing. */
  readonly modules: HttpModules | null
  /** What responses of upstreams pass; null for nothing. */
  readonly upstreamModules: HttpModules | null
  readonly watching: Watching
  /** Whether requests record their times also when nobody watches; and when somebody does. */
  readonly timed: boolean
  readonly timedIfWatched: boolean
  /** The wait before attempt `attempts + 1`, in milliseconds. */
  backoff(attempts: number): number
  /** What the connection's last request has left for this one. */
  takeConnectionContext(downstream: ServerSession): unknown
  keepConnectionContext(downstream: ServerSession, context: unknown): void
  /** Called once by each exchange. */
  exchangeEnded(error: ProxyError | undefined): void
}
