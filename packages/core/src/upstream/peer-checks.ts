import { isIP } from 'node:net'
import { isFieldValue, isToken } from '@cirque/http'
import type { Dispatcher } from 'undici'
import { parseAddress } from '../address.ts'
import type { ProxyHeader } from '../proxy-protocol/proxy-header.ts'
import { writeProxyHeader } from '../proxy-protocol/write-header.ts'
import type { NextHopProxy } from './peer-options.ts'

const TIMEOUT_MS_MAX = 2 ** 31 - 1
const ZERO_ALLOWED: ReadonlySet<string> = new Set([
  'idleTimeoutMs',
  'tunnelIdleTimeoutMs',
  'tcpKeepAliveMs',
  'http2PingIntervalMs',
])

/** How each option of a peer is checked, by its name. */
export const PEER_CHECKS: { readonly [name: string]: (name: string, value: unknown) => void } = {
  tls: checkBoolean,
  sni: checkString,
  verifyCertificate: checkBoolean,
  verifyHostname: checkBoolean,
  alternativeName: checkString,
  ca: checkPem,
  cert: checkPem,
  key: checkPem,
  curves: checkString,
  onHandshakeComplete: checkFunction,
  connectTimeoutMs: checkMilliseconds,
  totalConnectTimeoutMs: checkMilliseconds,
  readTimeoutMs: checkMilliseconds,
  writeTimeoutMs: checkMilliseconds,
  idleTimeoutMs: checkMilliseconds,
  tunnelIdleTimeoutMs: checkMilliseconds,
  httpVersion: checkHttpVersion,
  http2StreamsMax: (name, value) => checkInteger(name, value, 1, 1_000_000),
  http2WindowBytes: (name, value) => checkInteger(name, value, 16_384, 2 ** 31 - 1),
  http2PingIntervalMs: checkMilliseconds,
  localAddress: checkLocalAddress,
  tcpKeepAliveMs: checkMilliseconds,
  groupKey: checkString,
  proxy: checkProxy,
  connect: checkFunction,
  dispatcher: checkDispatcher,
  sendProxyProtocol: checkProxyHeader,
}

function wrong(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(
    `Peer option "${name}" must be ${expected}, not ${value === null ? 'null' : typeof value}`,
  )
}

function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw wrong(name, 'a boolean', value)
}

function checkString(name: string, value: unknown): void {
  if (typeof value !== 'string') throw wrong(name, 'a string', value)
}

function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw wrong(name, 'a function', value)
}

function checkDispatcher(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || typeof (value as Dispatcher).dispatch !== 'function') {
    throw wrong(name, 'an undici Dispatcher', value)
  }
}

function checkPem(name: string, value: unknown): void {
  const parts = Array.isArray(value) ? value : [value]
  for (const part of parts) {
    if (typeof part !== 'string' && !Buffer.isBuffer(part)) throw wrong(name, 'PEM text or a Buffer', part)
  }
}

function checkMilliseconds(name: string, value: unknown): void {
  const least = ZERO_ALLOWED.has(name) ? 0 : 1
  if (typeof value !== 'number') throw wrong(name, 'a number of milliseconds', value)
  if (!Number.isInteger(value) || value < least || value > TIMEOUT_MS_MAX) {
    throw new RangeError(
      `Peer option "${name}" must be an integer from ${least} to ${TIMEOUT_MS_MAX}, not ${value}`,
    )
  }
}

function checkHttpVersion(name: string, value: unknown): void {
  if (value !== 1 && value !== 2 && value !== 'auto') {
    throw new RangeError(`Peer option "${name}" must be 1, 2 or "auto", not ${String(value)}`)
  }
}

function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (typeof value !== 'number') throw wrong(name, 'a number', value)
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`Peer option "${name}" must be an integer from ${least} to ${most}, not ${value}`)
  }
}

function checkLocalAddress(name: string, value: unknown): void {
  checkString(name, value)
  if (isIP(value as string) === 0)
    throw new TypeError(`Peer option "${name}" must be an IP address, not "${value}"`)
}

function checkProxyHeader(name: string, value: unknown): void {
  try {
    writeProxyHeader(value as ProxyHeader)
  } catch (cause) {
    throw new TypeError(`Peer option "${name}": ${(cause as Error).message}`, { cause })
  }
}

function checkProxy(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw wrong(name, 'an object with an address', value)
  const { address, headers = {} } = value as NextHopProxy
  if (typeof address !== 'string') throw wrong(`${name}.address`, 'a string', address)
  parseAddress(address)
  if (typeof headers !== 'object' || headers === null) throw wrong(`${name}.headers`, 'an object', headers)
  for (const [field, text] of Object.entries(headers)) {
    if (!isToken(field)) {
      throw new TypeError(
        `Peer option "${name}.headers" has a malformed field name: ${JSON.stringify(field)}`,
      )
    }
    if (typeof text !== 'string' || !isFieldValue(text)) {
      throw new TypeError(`Peer option "${name}.headers" has a malformed value for "${field}"`)
    }
  }
}
