import {
  type ErrorCode,
  type ErrorSource,
  isProxyError,
  ProxyError,
  peerError,
  withContext,
} from '@cirque/error'
import { describe, expect, expectTypeOf, test } from 'vitest'

test('an error carries its code, source, message, context, status and cause', () => {
  const cause = new Error('inner')
  const error = new ProxyError('HTTP_STATUS', 'internal', 'Too many', {
    cause,
    context: 'limiter',
    status: 429,
  })
  expect(error).toMatchObject({
    name: 'ProxyError',
    code: 'HTTP_STATUS',
    source: 'internal',
    message: 'Too many',
    retry: 'never',
    context: 'limiter',
    status: 429,
    cause,
  })
  expect(error).toBeInstanceOf(Error)
  expect(error.stack).toContain('proxy-error.test')
})

test('the retry decision is taken over from a ProxyError cause unless one is given', () => {
  const inner = peerError('READ_ERROR', 'upstream', 'Lost', { retry: 'if-reused' })
  expect(new ProxyError('H1_ERROR', 'upstream', 'Lost', { cause: inner }).retry).toBe('if-reused')
  expect(new ProxyError('H1_ERROR', 'upstream', 'Lost', { cause: inner, retry: 'never' }).retry).toBe('never')
  const foreign = Object.assign(new Error('x'), { retry: 'allowed' })
  expect(new ProxyError('H1_ERROR', 'upstream', 'Lost', { cause: foreign }).retry).toBe('never')
})

describe('isProxyError', () => {
  test('knows an error of another installed copy of the package', async () => {
    const path: string = '../src/proxy-error.ts?copy'
    const copy: typeof import('../src/proxy-error.ts') = await import(/* @vite-ignore */ path)
    const error = new copy.ProxyError('NO_PEER', 'internal', 'None')
    expect(error).not.toBeInstanceOf(ProxyError)
    expect(isProxyError(error)).toBe(true)
  })

  test('refuses everything else', () => {
    for (const value of [
      undefined,
      null,
      0,
      'x',
      {},
      new Error('x'),
      { name: 'ProxyError', code: 'NO_PEER' },
    ]) {
      expect(isProxyError(value)).toBe(false)
    }
  })
})

describe('peerError', () => {
  test('has no stack, and leaves the stacks of others as they were', () => {
    const limit = Error.stackTraceLimit
    const error = peerError('HEADER_TIMEOUT', 'downstream', 'No request head within 10 ms')
    expect(error.stack).not.toContain('\n')
    expect(Error.stackTraceLimit).toBe(limit)
    expect(new Error('x').stack).toContain('\n')
  })

  test('gives stacks back after wrong arguments too', () => {
    const limit = Error.stackTraceLimit
    expect(() => peerError('HTTP_STATUS', 'upstream', 'x')).toThrow(RangeError)
    expect(Error.stackTraceLimit).toBe(limit)
  })

  test('works where Error is frozen', () => {
    const original = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit') as PropertyDescriptor
    Object.defineProperty(Error, 'stackTraceLimit', { ...original, writable: false })
    try {
      expect(peerError('NO_PEER', 'internal', 'None').code).toBe('NO_PEER')
    } finally {
      Object.defineProperty(Error, 'stackTraceLimit', original)
    }
  })
})

test('an error of a newer copy, with a code unknown here, can be wrapped', () => {
  const newer = Object.assign(peerError('NO_PEER', 'internal', 'x'), {
    code: 'CODE_OF_TOMORROW' as ErrorCode,
  })
  expect(withContext(newer, 'today')).toMatchObject({ code: 'CODE_OF_TOMORROW', cause: newer })
})

test('withContext wraps the error and leaves it unchanged', () => {
  const inner = peerError('HTTP_STATUS', 'upstream', 'Refused', { status: 503, retry: 'allowed' })
  const outer = withContext(inner, 'attempt 2')
  expect(outer).toMatchObject({
    code: 'HTTP_STATUS',
    source: 'upstream',
    message: 'Refused',
    status: 503,
    retry: 'allowed',
    context: 'attempt 2',
    cause: inner,
  })
  expect(inner.context).toBeUndefined()
})

describe('wrong arguments are refused with the value received', () => {
  const make =
    (code: unknown, source: unknown, message: unknown, options?: object): (() => ProxyError) =>
    () =>
      new ProxyError(code as ErrorCode, source as ErrorSource, message as string, options)

  test.each([
    ['an unknown code', make('NO_SUCH', 'internal', 'x'), RangeError, '"NO_SUCH"'],
    ['an inherited property name as code', make('toString', 'internal', 'x'), RangeError, '"toString"'],
    ['a custom code without a name', make('CUSTOM_', 'internal', 'x'), RangeError, '"CUSTOM_"'],
    ['a symbol as code', make(Symbol('s'), 'internal', 'x'), RangeError, 'Symbol(s)'],
    ['an unknown source', make('NO_PEER', 'client', 'x'), RangeError, '"client"'],
    ['an unknown retry', make('NO_PEER', 'internal', 'x', { retry: 'yes' }), RangeError, '"yes"'],
    ['a message that is no string', make('NO_PEER', 'internal', 5), TypeError, '5'],
    ['a context that is no string', make('NO_PEER', 'internal', 'x', { context: 5 }), TypeError, '5'],
    ['HTTP_STATUS without a status', make('HTTP_STATUS', 'internal', 'x'), RangeError, 'undefined'],
    ['status 99', make('HTTP_STATUS', 'internal', 'x', { status: 99 }), RangeError, '99'],
    ['status 600', make('HTTP_STATUS', 'internal', 'x', { status: 600 }), RangeError, '600'],
    ['status 200.5', make('NO_PEER', 'internal', 'x', { status: 200.5 }), RangeError, '200.5'],
  ])('%s', (_name, act, type, value) => {
    expect(act).toThrow(type)
    expect(act).toThrow(value)
  })

  test('the bounds themselves are taken', () => {
    expect(make('HTTP_STATUS', 'internal', 'x', { status: 100 })().status).toBe(100)
    expect(make('HTTP_STATUS', 'internal', 'x', { status: 599 })().status).toBe(599)
    expect(make('CUSTOM_A', 'internal', 'x')().code).toBe('CUSTOM_A')
  })
})

test('codes are checked by the compiler', () => {
  expectTypeOf<'CUSTOM_X'>().toExtend<ErrorCode>()
  // @ts-expect-error A code is known or begins with CUSTOM_.
  expect(() => new ProxyError('MISSPELT', 'internal', 'x')).toThrow(RangeError)
})
