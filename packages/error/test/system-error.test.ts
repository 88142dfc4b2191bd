import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type ErrorSource, fromSystemError, type KnownErrorCode, ProxyError } from '@cirque/error'
import { expect, test } from 'vitest'

test.each<[string, string, KnownErrorCode, ErrorSource]>([
  ['ECONNREFUSED', 'connect', 'CONNECT_REFUSED', 'upstream'],
  ['ETIMEDOUT', 'connect', 'CONNECT_TIMEOUT', 'upstream'],
  ['ETIMEDOUT', '', 'CONNECT_TIMEOUT', 'upstream'],
  ['ETIMEDOUT', 'read', 'READ_TIMEOUT', 'upstream'],
  ['ETIMEDOUT', 'write', 'WRITE_TIMEOUT', 'upstream'],
  ['EHOSTUNREACH', 'connect', 'CONNECT_NO_ROUTE', 'upstream'],
  ['ENETUNREACH', 'connect', 'CONNECT_NO_ROUTE', 'upstream'],
  ['ENOTFOUND', 'getaddrinfo', 'DNS_FAILED', 'upstream'],
  ['EAI_AGAIN', 'getaddrinfo', 'DNS_FAILED', 'upstream'],
  ['ESERVFAIL', 'queryA', 'DNS_FAILED', 'upstream'],
  ['ECONNRESET', 'read', 'CONNECTION_CLOSED', 'upstream'],
  ['EPIPE', 'write', 'CONNECTION_CLOSED', 'upstream'],
  ['EADDRNOTAVAIL', 'connect', 'BIND_FAILED', 'internal'],
  ['EACCES', 'listen', 'BIND_FAILED', 'internal'],
  ['EACCES', 'connect', 'CONNECT_ERROR', 'upstream'],
  ['ENOENT', 'connect', 'CONNECT_ERROR', 'upstream'],
  ['EIO', 'read', 'READ_ERROR', 'upstream'],
  ['EIO', 'write', 'WRITE_ERROR', 'upstream'],
  ['EMFILE', 'connect', 'RESOURCE_EXHAUSTED', 'internal'],
  ['ENFILE', 'accept', 'RESOURCE_EXHAUSTED', 'internal'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', '', 'INVALID_CERT', 'upstream'],
  ['CERT_HAS_EXPIRED', '', 'INVALID_CERT', 'upstream'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', '', 'INVALID_CERT', 'upstream'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', '', 'INVALID_CERT', 'upstream'],
  ['SELF_SIGNED_CERT_IN_CHAIN', '', 'INVALID_CERT', 'upstream'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', '', 'TLS_HANDSHAKE_FAILED', 'upstream'],
  ['EPROTO', 'write', 'TLS_HANDSHAKE_FAILED', 'upstream'],
  ['ERR_TLS_HANDSHAKE_TIMEOUT', '', 'TLS_HANDSHAKE_TIMEOUT', 'upstream'],
  ['ERR_HTTP2_STREAM_ERROR', '', 'H2_ERROR', 'upstream'],
  ['ENOSUCH', '', 'UNKNOWN_ERROR', 'upstream'],
])('%s from "%s" becomes %s of the %s', (code, syscall, expected, source) => {
  const cause = Object.assign(new Error('x'), { code, syscall })
  const error = fromSystemError(cause, 'upstream', 'Cannot do it')
  expect(error).toMatchObject({
    code: expected,
    source,
    cause,
    message: `Cannot do it: ${code}`,
    retry: 'never',
  })
  expect(error.stack).not.toContain('\n')
})

test('the error of a real refused connection is translated', async () => {
  const socket = connect({ host: '127.0.0.1', port: 1 })
  const [cause] = await once(socket, 'error', { signal: AbortSignal.timeout(5_000) }).catch((error) => [
    error,
  ])
  const error = fromSystemError(cause, 'upstream', 'Cannot connect', {
    retry: 'allowed',
    context: 'attempt 1',
  })
  expect(error).toMatchObject({ code: 'CONNECT_REFUSED', retry: 'allowed', context: 'attempt 1' })
})

test('the error of TLS spoken to a peer without it is translated', async () => {
  const server = createServer((socket) =>
    socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  )
  await once(server.listen(0, '127.0.0.1'), 'listening')
  try {
    const { port } = server.address() as { port: number }
    const cause = await new Promise((resolve) =>
      connectTls({ host: '127.0.0.1', port }).once('error', resolve),
    )
    expect(fromSystemError(cause, 'upstream', 'Cannot connect').code).toBe('TLS_HANDSHAKE_FAILED')
  } finally {
    server.close()
  }
})

test('when several addresses failed, the first failure counts', () => {
  const first = Object.assign(new Error('a'), { code: 'ECONNREFUSED', syscall: 'connect' })
  const second = Object.assign(new Error('b'), { code: 'ETIMEDOUT', syscall: 'connect' })
  const cause = new AggregateError([first, second])
  expect(fromSystemError(cause, 'upstream', 'Cannot connect').code).toBe('CONNECT_REFUSED')
  expect(fromSystemError(new AggregateError([null]), 'upstream', 'Cannot connect').code).toBe('UNKNOWN_ERROR')
})

test('a ProxyError is returned as it is', () => {
  const error = new ProxyError('NO_PEER', 'internal', 'None')
  expect(fromSystemError(error, 'upstream', 'Cannot connect')).toBe(error)
})

test('any value is taken', () => {
  for (const value of [undefined, null, 'ECONNRESET', 5, {}, { code: 5 }]) {
    const error = fromSystemError(value, 'downstream', 'Cannot read')
    expect(error).toMatchObject({ code: 'UNKNOWN_ERROR', source: 'downstream', message: 'Cannot read' })
  }
})
