import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import type { ResponseLimits } from '../http1/client-life.ts'
import { nameHint } from '../nearest-name.ts'
import { requireBoolean, requireOptions } from '../option-checks.ts'
import { readAuthorities } from '../tls/authorities.ts'
import { digestOf } from '../tls/followed-files.ts'
import { readPem } from '../tls/identity.ts'
import type { DnsCacheOptions } from './dns-cache.ts'
import type { AuthoritiesFile } from './secure-contexts.ts'

/** How a connector connects, and what it keeps. */
export interface ConnectorOptions {
  /**
   * Idle connections kept in all. Default 1,024: with fewer than there are requests at once, most of them
   * would dial anew.
   */
  readonly keepalivePoolSize?: number
  /** Idle connections kept per peer. Default: `keepalivePoolSize`. */
  readonly keepalivePoolSizePerPeer?: number
  /** A connection older than this is not used again, in milliseconds. Default 3,600,000; 0 for no limit. */
  readonly connectionAgeMaxMs?: number
  /** Requests on one connection. Default 0, no limit. */
  readonly requestsPerConnectionMax?: number
  /**
   * A PEM file of certificate authorities that replaces Node's own list. It is read again when it changes, until the
   * connector is closed: for new connections; open ones stay.
   */
  readonly caFile?: string
  /** How often `caFile` is looked at besides being watched, in ms. Default 60,000; 0 never reads it again. */
  readonly caReloadMs?: number
  /** Source addresses for IPv4 peers; one is picked at random per connection. */
  readonly bindToIpv4?: readonly string[]
  /** Source addresses for IPv6 peers; one is picked at random per connection. */
  readonly bindToIpv6?: readonly string[]
  /**
   * TLS sessions kept for resumption, one per peer, each for an hour at most. Default 1,024; 0 resumes none. A
   * resumed session's certificate is not verified again.
   */
  readonly tlsSessionsMax?: number
  /** Append TLS secrets to the file that `SSLKEYLOGFILE` names. For debugging only. Default false. */
  readonly debugSslKeylog?: boolean
  readonly dns?: DnsCacheOptions
  /** Largest response head in bytes. Default 65,536. */
  readonly headBytesMax?: number
  /** Most fields in a response head. Default 256. */
  readonly fieldsMax?: number
  /** Most 1xx responses before a final one. Default 16. */
  readonly informationalMax?: number
  /** How strictly responses are read. Default `'strict'`. */
  readonly profile?: 'strict' | 'lenient'
}

const OPTION_NAMES: ReadonlySet<string> = new Set<keyof ConnectorOptions>([
  'keepalivePoolSize',
  'keepalivePoolSizePerPeer',
  'connectionAgeMaxMs',
  'requestsPerConnectionMax',
  'caFile',
  'caReloadMs',
  'bindToIpv4',
  'bindToIpv6',
  'debugSslKeylog',
  'tlsSessionsMax',
  'dns',
  'headBytesMax',
  'fieldsMax',
  'informationalMax',
  'profile',
])

/** Checked {@link ConnectorOptions}. The pool, the DNS cache and the parser of heads check what is for them. */
export interface ConnectorPlan {
  readonly keepalivePoolSize: number
  readonly keepalivePoolSizePerPeer: number
  readonly connectionAgeMaxMs: number
  readonly requestsPerConnectionMax: number
  readonly authorities: AuthoritiesFile | undefined
  readonly bindToIpv4: readonly string[]
  readonly bindToIpv6: readonly string[]
  /** Where TLS secrets are appended, or undefined. */
  readonly keylogFile: string | undefined
  readonly tlsSessionsMax: number
  readonly dns: DnsCacheOptions | undefined
  readonly limits: ResponseLimits
}

/** Checks the options and reads the file of authorities. Throws as the constructor of a connector says. */
export function planConnector(options: ConnectorOptions): ConnectorPlan {
  requireOptions(options, 'the connector')
  if (options.debugSslKeylog !== undefined) requireBoolean('debugSslKeylog', options.debugSslKeylog)
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.has(name)) {
      throw new TypeError(`Unknown connector option "${name}"${nameHint(name, OPTION_NAMES)}`)
    }
  }
  const { keepalivePoolSize = 1_024 } = options
  return {
    keepalivePoolSize,
    keepalivePoolSizePerPeer: options.keepalivePoolSizePerPeer ?? keepalivePoolSize,
    connectionAgeMaxMs: options.connectionAgeMaxMs ?? 3_600_000,
    requestsPerConnectionMax: options.requestsPerConnectionMax ?? 0,
    authorities: authoritiesOf(options),
    bindToIpv4: addressesOf('bindToIpv4', options.bindToIpv4 ?? [], 4),
    bindToIpv6: addressesOf('bindToIpv6', options.bindToIpv6 ?? [], 6),
    keylogFile: options.debugSslKeylog === true ? process.env['SSLKEYLOGFILE'] : undefined,
    tlsSessionsMax: notNegative('tlsSessionsMax', options.tlsSessionsMax ?? 1_024),
    dns: options.dns,
    limits: {
      headBytesMax: positive('headBytesMax', options.headBytesMax ?? 65_536),
      fieldsMax: positive('fieldsMax', options.fieldsMax ?? 256),
      informationalMax: positive('informationalMax', options.informationalMax ?? 16),
      profile: options.profile ?? 'strict',
    },
  }
}

function authoritiesOf({ caFile, caReloadMs }: ConnectorOptions): AuthoritiesFile | undefined {
  if (caFile === undefined) {
    if (caReloadMs === undefined) return undefined
    throw new TypeError('Connector option "caReloadMs" has no effect without "caFile"')
  }
  const where = 'connector option "caFile"'
  const content = readPem(where, caFile)
  try {
    const reloadMs = notNegative('caReloadMs', caReloadMs ?? 60_000)
    return { path: resolve(caFile), ca: readAuthorities(content), digest: digestOf([content]), reloadMs }
  } catch (cause) {
    if (cause instanceof RangeError) throw cause
    throw new TypeError(`Invalid ${where} (${caFile}): ${(cause as Error).message}`, { cause })
  }
}

function addressesOf(name: string, addresses: readonly string[], family: 4 | 6): readonly string[] {
  if (!Array.isArray(addresses)) {
    throw new TypeError(`Connector option "${name}" must be an array, not ${inspect(addresses)}`)
  }
  for (const address of addresses) {
    if (isIP(address) !== family) {
      throw new TypeError(`Connector option "${name}" must hold IPv${family} addresses, not "${address}"`)
    }
  }
  return addresses
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`Connector option "${name}" must be a positive integer, not ${value}`)
  }
  return value
}

function notNegative(name: string, value: number): number {
  return value === 0 ? 0 : positive(name, value)
}
