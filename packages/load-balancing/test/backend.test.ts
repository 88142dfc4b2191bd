import { HttpPeer } from '@cirque/core'
import { Backend, LoadBalancer, roundRobin, WEIGHT_MAX } from '@cirque/load-balancing'
import fc from 'fast-check'
import { expect, test } from 'vitest'

test('a backend knows its address in both forms and what was attached to it', () => {
  const metadata = { zone: 'a' }
  const backend = new Backend('[0:0::1]:443', {
    weight: 3,
    priority: 1,
    metadata,
    peerOptions: { tls: true },
  })
  expect(backend.address).toBe('[::1]:443')
  expect(backend.addressParsed).toMatchObject({ kind: 'tcp', host: '::1', port: 443 })
  expect(backend).toMatchObject({ weight: 3, priority: 1, metadata, peerOptions: { tls: true } })
  expect(String(new Backend('unix:/run/a.sock'))).toBe('unix:/run/a.sock')
})

test('refuses what is not an address, naming it', () => {
  for (const address of [
    '',
    '10.0.0.1',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '::1:80',
    '[::1]',
    'unix:a',
    'a b:80',
    '127.1:80',
  ]) {
    expect(() => new Backend(address), address).toThrow(TypeError)
    expect(() => LoadBalancer.fromAddresses([address], roundRobin()), address).toThrow(TypeError)
  }
  expect(() => new Backend(undefined as never)).toThrow(TypeError)
})

test('refuses numbers out of range and unknown options', () => {
  for (const weight of [0, -1, 1.5, Number.NaN, WEIGHT_MAX + 1, '1' as never]) {
    expect(() => new Backend('a:1', { weight }), String(weight)).toThrow(RangeError)
  }
  expect(new Backend('a:1', { weight: WEIGHT_MAX }).weight).toBe(65_535)
  for (const priority of [-1, 256, 0.5]) expect(() => new Backend('a:1', { priority })).toThrow(RangeError)
  for (const metadata of [null, 5, 'x']) {
    expect(() => new Backend('a:1', { metadata: metadata as never })).toThrow(TypeError)
  }
  expect(() => new Backend('a:1', { inFlightMax: 0 })).toThrow(RangeError)
  expect(() => new Backend('a:1', { wieght: 1 } as never)).toThrow(/Unknown option 'wieght'/)
})

test('the set is sorted by address: IPv4 and IPv6 by number, then names, then sockets', () => {
  const sorted = [
    '1.0.0.2:80',
    '1.0.0.10:9',
    '1.0.0.10:80',
    '9.0.0.1:80',
    '10.0.0.1:80',
    '[::1]:80',
    '[::ffff:1.2.3.4]:80',
    '[2001:db8::2]:80',
    '[2001:db8::10]:80',
    'a.example:80',
    'b.example:80',
    'unix:/a',
    'unix:/b',
  ]
  fc.assert(
    fc.property(fc.shuffledSubarray(sorted, { minLength: sorted.length }), (shuffled) => {
      const { backends } = LoadBalancer.fromAddresses(shuffled, roundRobin())
      expect(backends.map(({ address }) => address)).toEqual(sorted)
    }),
  )
})

test('sorts sets of any size', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { maxLength: 2_000 }), (ports) => {
      const { backends } = LoadBalancer.fromAddresses(
        ports.map((port) => `10.0.0.1:${port}`),
        roundRobin(),
      )
      const expected = ports.toSorted((a, b) => a - b).map((port) => `10.0.0.1:${port}`)
      expect(backends.map(({ address }) => address)).toEqual(expected)
    }),
    { numRuns: 30 },
  )
})

test('what is no backend is refused', () => {
  for (const wrong of [null, 5, {}]) {
    expect(() => LoadBalancer.fromBackends([wrong as never], roundRobin())).toThrow(/Expected a Backend/)
    expect(() => new Backend(wrong as never)).toThrow(TypeError)
  }
  expect(new Backend(new Backend('a:1').addressParsed).address).toBe('a:1')
})

test('an address may be listed only once, however it is spelt', () => {
  expect(() => LoadBalancer.fromAddresses(['[::1]:80', '[0::1]:80'], roundRobin())).toThrow(/listed twice/)
})

test('a choice is a peer’s address, a missing one too', () => {
  const backend = new Backend('10.0.0.1:443', { peerOptions: { tls: true, sni: 'a.example' } })
  const balancer = LoadBalancer.fromBackends([backend], roundRobin())
  const peer = new HttpPeer(balancer.select(), backend.peerOptions)
  expect(peer.address).toBe(backend.addressParsed)
  expect(peer.serverName).toBe('a.example')
  balancer.setEnabled(backend, false)
  expect(new HttpPeer(balancer.select()).address).toBeUndefined()
})
