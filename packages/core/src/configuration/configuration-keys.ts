import { accessSync, constants } from 'node:fs'
import { isIPv4, isIPv6 } from 'node:net'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import { isServerName, SERVER_NAME_RULE } from '../downstream/server-name.ts'
import { LOG_LEVELS } from '../logger.ts'
import { THREADS_MAX } from '../threads/thread-count.ts'
import type { ServerConfiguration } from './server-configuration.ts'

/** One setting: its two names, its default, and how a value becomes valid. */
export interface ConfigurationKey {
  /** In files. */
  readonly fileName: string
  /** In code, and on {@link ServerConfiguration}. */
  readonly name: keyof ServerConfiguration
  readonly fallback: unknown
  /** Returns the value to use, or throws an Error that says what was expected. */
  readonly check: (value: unknown) => unknown
}

const SECONDS_MAX: number = 2_147_483 // setTimeout counts milliseconds in 31 bits

/** Every key there is. The order is the one of the documentation. */
export const CONFIGURATION_KEYS: readonly ConfigurationKey[] = [
  key('version', 'version', 1, only(1, 'only format 1 exists')),
  key('threads', 'threads', 1, threads),
  key('thread_watchdog_seconds', 'threadWatchdogSeconds', 5, seconds(0)),
  key('thread_watchdog_replaces', 'threadWatchdogReplaces', false, boolean),
  key('thread_heap_megabytes', 'threadHeapMegabytes', undefined, wholeNumber(16, 1_048_576)),
  key('daemon', 'daemon', false, boolean),
  key('daemon_ready_timeout_seconds', 'daemonReadyTimeoutSeconds', 600, seconds(1)),
  key('error_log', 'errorLog', undefined, path),
  key('error_log_level', 'errorLogLevel', 'info', logLevel),
  key('pid_file', 'pidFile', undefined, path),
  key('user', 'user', undefined, accountName),
  key('group', 'group', undefined, accountName),
  key('working_directory', 'workingDirectory', undefined, path),
  key('grace_period_seconds', 'gracePeriodSeconds', 300, seconds(0)),
  key('graceful_shutdown_timeout_seconds', 'gracefulShutdownTimeoutSeconds', 5, seconds(0)),
  key('upgrade_sock', 'upgradeSock', undefined, path),
  key('upgrade_waits_for_signal', 'upgradeWaitsForSignal', true, boolean),
  key('upgrade_ready_timeout_seconds', 'upgradeReadyTimeoutSeconds', 60, seconds(1)),
  key('upgrade_close_timeout_seconds', 'upgradeCloseTimeoutSeconds', 5, seconds(0)),
  key('connections_max', 'connectionsMax', 20_000, wholeNumber(1, 10_000_000)),
  key('connections_per_ip_max', 'connectionsPerIpMax', 0, wholeNumber(0, 10_000_000)),
  key('listener_backlog', 'listenerBacklog', 65_535, wholeNumber(1, 2_147_483_647)),
  key('listener_reuse_port', 'listenerReusePort', false, boolean),
  key('listener_keep_alive_seconds', 'listenerKeepAliveSeconds', 0, wholeNumber(0, 32_767)), // tcp(7)
  key('http2', 'http2', true, boolean),
  key('h2c', 'h2c', false, boolean),
  key('http2_streams_max', 'http2StreamsMax', 100, wholeNumber(1, 2_147_483_647)),
  key('http_head_timeout_seconds', 'httpHeadTimeoutSeconds', 15, seconds(0.001)),
  key('http_body_timeout_seconds', 'httpBodyTimeoutSeconds', 60, seconds(0.001)),
  key('http_request_timeout_seconds', 'httpRequestTimeoutSeconds', 3_600, seconds(0.001)),
  key('http_write_timeout_seconds', 'httpWriteTimeoutSeconds', 60, seconds(0.001)),
  key('http_idle_timeout_seconds', 'httpIdleTimeoutSeconds', 60, seconds(0.001)),
  key(
    'http_requests_per_connection_max',
    'httpRequestsPerConnectionMax',
    10_000,
    wholeNumber(1, 2_147_483_647),
  ),
  key('http_head_bytes_max', 'httpHeadBytesMax', 65_536, wholeNumber(1, Number.MAX_SAFE_INTEGER)),
  key('http_request_body_bytes_max', 'httpRequestBodyBytesMax', 0, wholeNumber(0, Number.MAX_SAFE_INTEGER)),
  key('http_server_name', 'httpServerName', 'Cirque', serverName),
  key('ca_file', 'caFile', undefined, readableFile),
  key('client_bind_to_ipv4', 'clientBindToIpv4', Object.freeze([]), addresses(isIPv4, 'IPv4')),
  key('client_bind_to_ipv6', 'clientBindToIpv6', Object.freeze([]), addresses(isIPv6, 'IPv6')),
  key('upstream_keepalive_pool_size', 'upstreamKeepalivePoolSize', 1_024, wholeNumber(0, 10_000_000)),
  key(
    'upstream_keepalive_pool_size_per_peer',
    'upstreamKeepalivePoolSizePerPeer',
    undefined,
    wholeNumber(0, 10_000_000),
  ),
  key('upstream_connection_age_max_seconds', 'upstreamConnectionAgeMaxSeconds', 3_600, seconds(0)),
  key(
    'upstream_requests_per_connection_max',
    'upstreamRequestsPerConnectionMax',
    0,
    wholeNumber(0, 2_147_483_647),
  ),
  key('upstream_debug_ssl_keylog', 'upstreamDebugSslKeylog', false, boolean),
  key('max_retries', 'maxRetries', 16, wholeNumber(1, 100)),
  key('retry_buffer_bytes_max', 'retryBufferBytesMax', 65_536, wholeNumber(0, 1_073_741_824)),
  key('filter_timeout_seconds', 'filterTimeoutSeconds', 60, seconds(0)),
  key('app', 'app', undefined, (value) => value),
]

/** Pingora's other keys: known, so that their users learn why they have no place here. */
export const REFUSED_KEYS: Readonly<Record<string, string>> = {
  blocking_threads_ttl_seconds: 'Node.js has no such setting for its thread pool',
  daemon_notify_timeout_seconds: 'the daemon reports over a pipe, which needs no retries',
  daemon_wait_for_ready: 'starting a daemon always waits until it is ready',
  listener_tasks_per_fd: 'one event loop accepts from each listener',
  max_blocking_threads: 'set the environment variable UV_THREADPOOL_SIZE instead',
  s2n_config_cache_size: 'TLS is always OpenSSL here',
  upgrade_sock_connect_accept_max_retries:
    'the running server listens there all the time, so nobody has to try again',
  upstream_connect_offload_thread_per_pool: 'connections are made on the event loop',
  upstream_connect_offload_threadpools: 'connections are made on the event loop',
  work_stealing: 'there is one event loop per thread and nothing to steal',
}

function key(
  fileName: string,
  name: keyof ServerConfiguration,
  fallback: unknown,
  check: (value: unknown) => unknown,
): ConfigurationKey {
  return { fileName, name, fallback, check }
}

function expected(what: string, value: unknown): Error {
  const shown = inspect(value, { depth: 1, maxArrayLength: 5, maxStringLength: 100, breakLength: Infinity })
  return new Error(`expected ${what}, received ${shown}`)
}

function boolean(value: unknown): unknown {
  if (typeof value !== 'boolean') throw expected('true or false', value)
  return value
}

function threads(value: unknown): unknown {
  if (value === 'auto') return value
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= THREADS_MAX) return value
  throw expected(`"auto" or a whole number from 1 to ${THREADS_MAX}`, value)
}

function logLevel(value: unknown): unknown {
  if ((LOG_LEVELS as readonly unknown[]).includes(value)) return value
  throw expected(`one of ${LOG_LEVELS.join(', ')}`, value)
}

function serverName(value: unknown): unknown {
  if (isServerName(value)) return value
  throw expected(SERVER_NAME_RULE, value)
}

function only(wanted: number, reason: string): (value: unknown) => unknown {
  return (value) => {
    if (value !== wanted) throw new Error(`${expected(String(wanted), value).message}: ${reason}`)
    return value
  }
}

function wholeNumber(min: number, max: number): (value: unknown) => unknown {
  return (value) => {
    if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value
    throw expected(`a whole number from ${min} to ${max}`, value)
  }
}

function seconds(min: number): (value: unknown) => unknown {
  return (value) => {
    const isInRange = typeof value === 'number' && value >= min && value <= SECONDS_MAX
    if (!isInRange) throw expected(`seconds from ${min} to ${SECONDS_MAX}`, value)
    return value
  }
}

/** Made absolute at once, so that `working_directory` does not change what it means. */
function path(value: unknown): unknown {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw expected('a path', value)
  return resolve(value)
}

function readableFile(value: unknown): unknown {
  const file = path(value) as string
  try {
    accessSync(file, constants.R_OK)
  } catch (error) {
    throw new Error(`cannot read "${file}": ${(error as NodeJS.ErrnoException).code}`)
  }
  return file
}

function accountName(value: unknown): unknown {
  if (typeof value === 'string' && /^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}\$?$/.test(value)) return value
  throw expected('an account name', value)
}

function addresses(isValid: (text: string) => boolean, family: string): (value: unknown) => unknown {
  return (value) => {
    const list = typeof value === 'string' ? [value] : value
    const isList = Array.isArray(list) && list.every((item) => typeof item === 'string' && isValid(item))
    if (!isList || list.length > 1024) throw expected(`a list of ${family} addresses`, value)
    return Object.freeze([...list])
  }
}
