import { displayError, isProxyError, ProxyError, peerError, rootCause, withContext } from '@cirque/error'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

describe('displayError', () => {
  test('shows source, code, message, context and each cause on one line', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:80'), { code: 'ECONNREFUSED' })
    const inner = peerError('CONNECT_REFUSED', 'upstream', 'Cannot connect to "10.0.0.1:80"', { cause })
    const outer = new ProxyError('NO_PEER', 'internal', 'No backend left', { cause: inner, context: 'api' })
    expect(displayError(outer)).toBe(
      'internal NO_PEER: No backend left; context: api; ' +
        'cause: upstream CONNECT_REFUSED: Cannot connect to "10.0.0.1:80"; ' +
        'cause: Error: connect ECONNREFUSED 10.0.0.1:80',
    )
  })

  test('shows what a cause has in common with the error around it once', () => {
    const inner = peerError('READ_ERROR', 'upstream', 'Lost', { context: 'reading the head' })
    const outer = withContext(withContext(inner, 'attempt 2'), 'tenant 7')
    expect(displayError(outer)).toBe(
      'upstream READ_ERROR: Lost; context: tenant 7; cause: context: attempt 2; cause: context: reading the head',
    )
  })

  test('shows foreign errors, their code where the message lacks it, and the parts of an aggregate', () => {
    expect(displayError(new TypeError('bad'))).toBe('TypeError: bad')
    expect(displayError(Object.assign(new Error('no luck'), { code: 'EX' }))).toBe('Error EX: no luck')
    const parts = [1, 2, 3, 4, 5].map((number) => new Error(`part ${number}`))
    expect(displayError(new AggregateError(parts, 'all'))).toBe(
      'AggregateError: all [part 1, part 2, part 3, part 4, …]',
    )
    expect(displayError('plain')).toBe('plain')
    expect(displayError(undefined)).toBe('undefined')
    expect(displayError({})).toBe('Object')
  })

  test('a peer cannot write a log line of its own', () => {
    const error = new ProxyError('H1_ERROR', 'upstream', 'a\r\nb\u0000\u001b[31m\u2028\u202e\ud800')
    expect(displayError(error)).toBe(
      'upstream H1_ERROR: a\\u000d\\u000ab\\u0000\\u001b[31m\\u2028\\u202e\ufffd',
    )
  })

  test('is bounded in depth and length', () => {
    let error = new Error('link 0')
    for (let index = 1; index < 50; index++) error = new Error(`link ${index}`, { cause: error })
    expect(displayError(error).match(/link/g)).toHaveLength(8)
    expect(displayError(error)).toMatch(/; cause: …$/)
    expect(displayError(new Error('x'.repeat(1e6))).length).toBeLessThanOrEqual(2_048)
    expect(displayError('x'.repeat(1e6)).length).toBeLessThanOrEqual(2_048)
    let long = new Error('x'.repeat(1e4))
    for (let index = 0; index < 8; index++) long = new Error(`${index}`.repeat(1e4), { cause: long })
    expect(displayError(long)).toHaveLength(2_048)
  })

  test('ends on a chain that is a circle', () => {
    const error: Error = new Error('round')
    error.cause = error
    expect(displayError(error)).toMatch(/^Error: round/)
  })

  test('does not throw, whatever it is given', () => {
    const hostileTraps: ProxyHandler<object> = {
      get() {
        throw new Error('no')
      },
    }
    const hostile = new Proxy({}, hostileTraps)
    const errors = new Proxy([new Error('x')], hostileTraps)
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    for (const value of [
      hostile,
      proxy,
      Object.create(null),
      Symbol('s'),
      5n,
      () => {},
      new Error('x', { cause: hostile }),
      { message: 'x', errors },
    ]) {
      expect(typeof displayError(value)).toBe('string')
      expect(displayError(value)).not.toBe('')
    }
  })

  test('never contains a control character and never passes its length, for any chain', () => {
    const anyString = fc.string({ unit: 'binary', maxLength: 3_000 })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), anyString, anyString), { maxLength: 12 }), (links) => {
        let error: unknown
        for (const [isForeign, message, context] of links) {
          error = isForeign
            ? Object.assign(new Error(message, { cause: error }), { code: context, name: context })
            : peerError('READ_ERROR', 'upstream', message, { cause: error, context })
        }
        const line = displayError(error)
        expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u)
        expect(line.length).toBeLessThanOrEqual(2_048)
        expect(line.isWellFormed()).toBe(true)
      }),
      { numRuns: 60 },
    )
  })
})

describe('rootCause', () => {
  test('is the innermost cause, foreign or not', () => {
    const root = new Error('root')
    const middle = peerError('READ_ERROR', 'upstream', 'x', { cause: root })
    expect(rootCause(withContext(middle, 'y'))).toBe(root)
    expect(rootCause(root)).toBe(root)
    expect(rootCause(new Error('x', { cause: 'text' }))).toBe('text')
    expect(rootCause(undefined)).toBeUndefined()
  })

  test('ends although each cause makes up another', () => {
    class Endless extends Error {
      override get cause(): unknown {
        return new Endless()
      }
    }
    expect(rootCause(new Endless())).toBeInstanceOf(Endless)
    expect(displayError(new Endless('x'))).toMatch(/^Error: x/)
  })

  test('stops in a circle', () => {
    const first: Error = new Error('first')
    const second = new Error('second', { cause: first })
    first.cause = second
    expect(rootCause(first)).toBe(second)
    expect(isProxyError(rootCause(first))).toBe(false)
  })
})
