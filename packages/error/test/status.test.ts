import { type ErrorCode, type ErrorSource, ProxyError, peerError, statusForError } from '@cirque/error'
import { expect, test } from 'vitest'

test.each<[ErrorSource, ErrorCode, number]>([
  ['upstream', 'CONNECT_REFUSED', 502],
  ['upstream', 'CONNECT_TIMEOUT', 504],
  ['upstream', 'READ_TIMEOUT', 504],
  ['upstream', 'WRITE_TIMEOUT', 504],
  ['upstream', 'INVALID_HTTP_HEADER', 502],
  ['upstream', 'QUEUE_FULL', 503],
  ['internal', 'NO_PEER', 503],
  ['internal', 'QUEUE_TIMEOUT', 503],
  ['internal', 'CIRCUIT_OPEN', 503],
  ['internal', 'SHUTTING_DOWN', 503],
  ['internal', 'RETRY_BUDGET_EXHAUSTED', 503],
  ['internal', 'RESOURCE_EXHAUSTED', 500],
  ['internal', 'CONNECT_TIMEOUT', 500],
  ['downstream', 'BODY_TOO_LARGE', 413],
  ['downstream', 'HEADER_TIMEOUT', 408],
  ['downstream', 'REQUEST_TIMEOUT', 408],
  ['downstream', 'READ_TIMEOUT', 408],
  ['downstream', 'READ_ERROR', 0],
  ['downstream', 'WRITE_ERROR', 0],
  ['downstream', 'CONNECTION_CLOSED', 0],
  ['downstream', 'WRITE_TIMEOUT', 400],
  ['downstream', 'INVALID_CHUNK', 400],
  ['downstream', 'CUSTOM_TENANT', 400],
  ['upstream', 'CUSTOM_TENANT', 502],
])('an error of the %s with %s is answered with %i', (source, code, status) => {
  expect(statusForError(new ProxyError(code, source, 'Failed'))).toBe(status)
})

test('a status on the error wins over its code and source', () => {
  expect(statusForError(peerError('HTTP_STATUS', 'upstream', 'Refused', { status: 429 }))).toBe(429)
  expect(statusForError(peerError('INVALID_HTTP_HEADER', 'downstream', 'Too long', { status: 431 }))).toBe(
    431,
  )
})

test('whatever is not a ProxyError is answered with 500', () => {
  for (const value of [new Error('x'), 'x', undefined, null, 4, { code: 'NO_PEER', source: 'internal' }]) {
    expect(statusForError(value)).toBe(500)
  }
})
