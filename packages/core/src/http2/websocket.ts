import { createHash, randomBytes } from 'node:crypto'
import { type RequestHeader, ResponseHeader } from '@cirque/http'

/** RFC 6455 §1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/**
 * Makes an extended CONNECT for a WebSocket (RFC 8441 §5) the HTTP/1.1 upgrade that it stands for, in place:
 * everything above sees one kind of WebSocket. The key, which HTTP/2 has none of, is made up.
 *
 * @returns What a server that accepts must answer as `Sec-WebSocket-Accept`.
 */
export function toUpgrade(request: RequestHeader): string {
  const key = randomBytes(16).toString('base64')
  request.setMethod('GET')
  request.removeHeader('Content-Length')
  request.insertHeader('Connection', 'upgrade')
  request.insertHeader('Upgrade', 'websocket')
  request.insertHeader('Sec-WebSocket-Key', key)
  return acceptOfKey(key)
}

function acceptOfKey(key: string): string {
  return createHash('sha1')
    .update(key + ACCEPT_SUFFIX)
    .digest('base64')
}

/** What accepts an HTTP/1.1 upgrade to WebSocket. */
export function acceptOf(upgrade: RequestHeader): string {
  return acceptOfKey(upgrade.get('sec-websocket-key') ?? '')
}

/** The extended CONNECT that stands for an HTTP/1.1 upgrade to WebSocket (RFC 8441 §5); a copy. */
export function toExtendedConnect(upgrade: RequestHeader): RequestHeader {
  const request = upgrade.clone()
  for (const name of ['Connection', 'Upgrade', 'Sec-WebSocket-Key', 'Content-Length'])
    request.removeHeader(name)
  return request
}

/** The 101 that a 2xx to an extended CONNECT stands for. */
export function asSwitching(accepted: ResponseHeader, accept: string): ResponseHeader {
  const header = accepted.clone()
  header.setStatus(101)
  header.removeHeader('Content-Length')
  header.insertHeader('Connection', 'upgrade')
  header.insertHeader('Upgrade', 'websocket')
  header.insertHeader('Sec-WebSocket-Accept', accept)
  return header
}

/**
 * The answer to an extended CONNECT that stands for a 101: status 200; what belongs to the upgrade is gone. Null
 * when the 101 does not accept the key, so that whoever sent it does not speak WebSocket.
 */
export function fromSwitching(switching: ResponseHeader, accept: string): ResponseHeader | null {
  if (switching.get('sec-websocket-accept') !== accept) return null
  const header = switching.clone()
  header.setStatus(200)
  header.removeHeader('Sec-WebSocket-Accept')
  header.removeHeader('Content-Length')
  return header
}

/** What stands in for a 2xx that is no 101: to the client it would mean that the tunnel is open. */
export function notSwitched(): ResponseHeader {
  return ResponseHeader.build(501, { 'Cache-Control': 'private, no-store' })
}
