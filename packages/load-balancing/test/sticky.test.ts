import {
  type Backend,
  LoadBalancer,
  roundRobin,
  type StickyChoice,
  StickySessions,
} from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Sealer } from '../src/sticky/sealed-token.ts'
import { addresses, Clock } from './helpers.ts'

const secret = 'a secret of at least sixteen bytes'
const balancerOf = (count: number) => LoadBalancer.fromAddresses(addresses(count), roundRobin())

test('a client that brings its token back meets its backend again', () => {
  const balancer = balancerOf(5)
  const sticky = new StickySessions({ secrets: [secret] })
  for (let client = 0; client < 10; client++) {
    const { backend, token } = sticky.select(balancer, undefined) as StickyChoice
    for (let visit = 0; visit < 3; visit++) {
      expect(sticky.select(balancer, token)).toEqual({ backend, token: undefined })
    }
  }
})

test('if the backend cannot serve, or was tried already, the client gets another and a new token', () => {
  const balancer = balancerOf(3)
  const sticky = new StickySessions({ secrets: [secret] })
  const first = sticky.select(balancer, undefined) as StickyChoice
  const tried = (backend: Backend) => backend !== first.backend
  expect(sticky.select(balancer, first.token, undefined, { accept: tried })?.backend).not.toBe(first.backend)
  balancer.setEnabled(first.backend, false)
  const second = sticky.select(balancer, first.token) as StickyChoice
  expect(second.backend).not.toBe(first.backend)
  expect(second.token).toBeDefined()
  expect(sticky.select(balancer, second.token)).toEqual({ backend: second.backend, token: undefined })
  for (const backend of balancer.backends) balancer.setEnabled(backend, false)
  expect(sticky.select(balancer, second.token)).toBeUndefined()
})

test('a token from another balancer, or one whose backend left, is taken for none', () => {
  const sticky = new StickySessions({ secrets: [secret] })
  const gone = balancerOf(5).backends[4] as Backend
  expect(sticky.select(balancerOf(4), sticky.tokenFor(gone))?.token).toBeDefined()
})

test('tokens are renewed in the second half of their time, and worth nothing after it', () => {
  const clock = new Clock()
  const balancer = balancerOf(3)
  const sticky = new StickySessions({ secrets: [secret], maxAgeSeconds: 100, now: clock.now })
  const { backend, token } = sticky.select(balancer, undefined) as StickyChoice
  clock.ms = 50_000
  expect(sticky.select(balancer, token)?.token).toBeUndefined()
  clock.ms = 51_000
  const renewed = sticky.select(balancer, token) as StickyChoice
  expect(renewed.backend).toBe(backend)
  expect(renewed.token).toBeDefined()
  clock.ms = 100_000
  expect(sticky.select(balancer, token)?.backend).toBe(backend)
  clock.ms = 101_000
  expect(sticky.select(balancer, token)?.backend).not.toBe(backend)
  expect(sticky.select(balancer, renewed.token)?.backend).toBe(backend)
})

test('an old secret still opens, a dropped one does not', () => {
  const balancer = balancerOf(3)
  const old = new StickySessions({ secrets: [secret] })
  const rotated = new StickySessions({ secrets: ['another secret, sixteen bytes too', secret] })
  const dropped = new StickySessions({ secrets: ['another secret, sixteen bytes too'] })
  const { backend, token } = old.select(balancer, undefined) as StickyChoice
  expect(rotated.select(balancer, token)).toEqual({ backend, token: undefined })
  expect(dropped.select(balancer, token)?.token).toBeDefined()
  expect(old.select(balancer, rotated.tokenFor(backend))?.token).toBeDefined()
})

test('whatever a client makes of a token, or makes up, is taken for none', () => {
  const sealer = new Sealer(Buffer.from(secret))
  const token = sealer.seal('abc 10.0.0.1:80')
  expect(sealer.open(token)).toBe('abc 10.0.0.1:80')
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
      const forged = token.slice(0, at) + character + token.slice(at + 1)
      // The last character may carry bits that base64 does not use; then it is the same token in another spelling.
      if (at < token.length - 1 && forged !== token) expect(sealer.open(forged)).toBeUndefined()
    }),
    { numRuns: 500 },
  )
  fc.assert(
    fc.property(fc.string({ maxLength: 100 }), (text) => {
      expect(sealer.open(text)).toBeUndefined()
    }),
  )
  for (let end = 0; end < token.length; end++) expect(sealer.open(token.slice(0, end))).toBeUndefined()
  expect(sealer.open(`v1.${'A'.repeat(2_000)}`)).toBeUndefined()
  expect(sealer.open(`${token}\n`)).toBeUndefined()
})

test('any text comes back, and the token shows nothing of it', () => {
  const sealer = new Sealer(Buffer.from(secret))
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 8, maxLength: 80 }), (text) => {
      const token = sealer.seal(text)
      expect(sealer.open(token)).toBe(text.toWellFormed())
      expect(token).toMatch(/^v1\.[\w-]+$/)
      expect(Buffer.from(token.slice(3), 'base64url').toString('latin1')).not.toContain(text)
    }),
  )
})

test('finds its cookie among others', () => {
  const sticky = new StickySessions({ secrets: [secret], cookieName: 'lb' })
  for (const [header, token] of [
    [undefined, undefined],
    ['', undefined],
    ['lb=x', 'x'],
    ['a=1; lb=x; b=2', 'x'],
    ['a=1;lb=x==', 'x=='],
    ['xlb=1; lb2=2; lb', undefined],
    ['lb=first; lb=second', 'first'],
    ['lb=', ''],
  ] as const) {
    expect(sticky.tokenFromCookie(header), String(header)).toBe(token)
  }
  expect(sticky.tokenFromCookie(`a=${'x'.repeat(70_000)}; lb=x`)).toBeUndefined()
})

test('makes a Set-Cookie value', () => {
  const plain = new StickySessions({ secrets: [secret] })
  expect(plain.cookie('x')).toBe('cirque_backend=x; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax')
  const options = {
    secrets: [secret],
    cookieName: 'lb',
    maxAgeSeconds: 60,
    cookieAttributes: 'Path=/a; Secure',
  }
  expect(new StickySessions(options).cookie('x')).toBe('lb=x; Max-Age=60; Path=/a; Secure')
})

test('refuses wrong options', () => {
  for (const options of [
    { secrets: [] },
    { secrets: ['too short'] },
    { secrets: [secret], cookieName: 'a b' },
    { secrets: [secret], cookieName: '' },
    { secrets: [secret], cookieAttributes: 'Path=/\r\nX: 1' },
    { secrets: [secret], now: 1 },
    { secrets: [secret], maxAge: 1 },
    {},
  ]) {
    expect(() => new StickySessions(options as never), JSON.stringify(options)).toThrow(TypeError)
  }
  expect(() => new StickySessions({ secrets: [secret], maxAgeSeconds: 0 })).toThrow(RangeError)
})
