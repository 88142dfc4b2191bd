import { BlockList, isIP } from 'node:net'
import { inspect } from 'node:util'
import { rejectUnknown } from '../option-checks.ts'
import { PROXY_HEADER_BYTES_MAX_DEFAULT } from './read-header.ts'

/** How a listener takes PROXY protocol headers; option `proxyProtocol` of any listener. */
export interface ProxyProtocolOptions {
  /**
   * Who may say on whose behalf it connects: IP addresses and CIDR ranges (`10.0.0.0/8`, `fd00::/8`), or `'any'` when
   * nobody but the proxy in front can reach the listener. On a Unix socket only `'any'`: its file's mode decides.
   */
  readonly trusted: readonly string[] | 'any'
  /**
   * Default true: who is not trusted, or sends no header, is reset. With false both are served as what they are; who
   * is trusted then must send its first byte within `timeoutMs` all the same.
   */
  readonly required?: boolean
  /** Time for the whole header, in ms; after it the connection is reset. Default 5000. */
  readonly timeoutMs?: number
  /** Longest version 2 header, in bytes; longer ones are reset. 232 to 65551, default 4096. */
  readonly headerBytesMax?: number
  /** Versions to take. Default both. */
  readonly versions?: readonly (1 | 2)[]
}

/** Checked {@link ProxyProtocolOptions}. */
export interface ProxyProtocolPlan {
  readonly required: boolean
  readonly timeoutMs: number
  readonly headerBytesMax: number
  readonly versions: readonly (1 | 2)[]
  /** Undefined trusts everybody. */
  readonly trusted: BlockList | undefined
}

const KEYS: readonly string[] = ['trusted', 'required', 'timeoutMs', 'headerBytesMax', 'versions']

/** The smallest cap that still takes every address without TLVs: two Unix paths. */
const HEADER_BYTES_LEAST = 232

/** The most that a 16-bit length can say. */
const HEADER_BYTES_MOST = 65_551

/** Checks the option. Throws TypeError or RangeError naming the value received. */
export function planProxyProtocol(options: ProxyProtocolOptions, isUnix: boolean): ProxyProtocolPlan {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected proxyProtocol to be an object, received ${inspect(options)}`)
  }
  rejectUnknown(options, KEYS, 'proxyProtocol')
  const { trusted, required = true, timeoutMs = 5000, versions = [1, 2] } = options
  const { headerBytesMax = PROXY_HEADER_BYTES_MAX_DEFAULT } = options
  if (typeof required !== 'boolean') {
    throw new TypeError(`Expected proxyProtocol.required to be true or false, received ${inspect(required)}`)
  }
  if (isUnix && trusted !== 'any') {
    throw new TypeError(`On a Unix socket proxyProtocol.trusted must be 'any', received ${inspect(trusted)}`)
  }
  if (!Array.isArray(versions) || versions.length === 0 || versions.some((one) => one !== 1 && one !== 2)) {
    throw new TypeError(`Expected proxyProtocol.versions to list 1, 2 or both, received ${inspect(versions)}`)
  }
  return {
    required,
    timeoutMs: within('timeoutMs', timeoutMs, 1, 3_600_000),
    headerBytesMax: within('headerBytesMax', headerBytesMax, HEADER_BYTES_LEAST, HEADER_BYTES_MOST),
    versions: [...versions],
    trusted: trusted === 'any' ? undefined : rangesOf(trusted),
  }
}

/** Whether the plan lets this address speak for others; `undefined` is a Unix socket's. */
export function isTrustedProxy(plan: ProxyProtocolPlan, address: string | undefined): boolean {
  if (plan.trusted === undefined) return true
  if (address === undefined) return false
  // A dual-stack socket shows IPv4 mapped into IPv6.
  const isMapped = address.startsWith('::ffff:') && address.includes('.')
  const ip = isMapped ? address.slice(7) : address
  return plan.trusted.check(ip, ip.includes(':') ? 'ipv6' : 'ipv4')
}

function rangesOf(trusted: unknown): BlockList {
  if (!Array.isArray(trusted) || trusted.length === 0) {
    throw new TypeError(
      `Expected proxyProtocol.trusted to be 'any' or a list of addresses, received ${inspect(trusted)}`,
    )
  }
  const ranges = new BlockList()
  for (const entry of trusted as readonly unknown[]) {
    const [ip = '', prefix, rest] = typeof entry === 'string' ? entry.split('/') : []
    const family = isIP(ip)
    const bits = family === 4 ? 32 : 128
    const isPrefix = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)
    if (family === 0 || ip.includes('%') || !isPrefix || rest !== undefined) {
      throw new TypeError(
        `Expected proxyProtocol.trusted to hold addresses or ranges, received ${inspect(entry)}`,
      )
    }
    ranges.addSubnet(ip, prefix === undefined ? bits : Number(prefix), family === 4 ? 'ipv4' : 'ipv6')
  }
  return ranges
}

function within(name: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value
  throw new RangeError(
    `Expected proxyProtocol.${name} to be a whole number from ${min} to ${max}, received ${inspect(value)}`,
  )
}
