import { expect, expectTypeOf, test } from 'vitest'
import { HttpPeer, type HttpPeerOptions, type PeerAddress } from '../src/index.ts'

const peer = (options: Record<string, unknown>) => () => new HttpPeer('a:80', options as HttpPeerOptions)

test('each wrong option is refused by name', () => {
  const wrong: Record<string, unknown[]> = {
    tls: [1, 'yes', null],
    sni: [1, null],
    verifyCertificate: ['false', 0],
    verifyHostname: ['false', 0],
    alternativeName: [1],
    ca: [1, [1], {}],
    cert: [1, {}],
    key: [1, {}],
    curves: [1],
    localAddress: ['a', '1.2', '999.1.1.1', '', 1],
    groupKey: [1, null],
    proxy: [
      'a:1',
      null,
      {},
      { address: 1 },
      { address: '' },
      { address: 'a:1', headers: 1 },
      { address: 'a:1', headers: { 'A B': 'c' } },
      { address: 'a:1', headers: { A: 'b\r\nC: d' } },
      { address: 'a:1', headers: { A: 1 } },
    ],
    connect: [1, {}],
    dispatcher: [1, {}, { dispatch: 1 }],
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) expect(peer({ [name]: value }), `${name} ${String(value)}`).toThrow(TypeError)
    if (name !== 'proxy') expect(peer({ [name]: values[0] })).toThrow(`"${name}"`)
    expect(peer({ [name]: undefined })).not.toThrow()
  }
})

test('times are bounded integers of milliseconds', () => {
  const zero = ['idleTimeoutMs', 'tunnelIdleTimeoutMs', 'tcpKeepAliveMs']
  const positive = ['connectTimeoutMs', 'totalConnectTimeoutMs', 'readTimeoutMs', 'writeTimeoutMs']
  for (const name of [...zero, ...positive]) {
    for (const value of [-1, 1.5, Number.NaN, 2 ** 31, Number.POSITIVE_INFINITY]) {
      expect(peer({ [name]: value })).toThrow(RangeError)
      expect(peer({ [name]: value })).toThrow(`"${name}"`)
    }
    expect(peer({ [name]: '5' })).toThrow(TypeError)
    expect(peer({ [name]: 2 ** 31 - 1 })).not.toThrow()
    expect(peer({ [name]: 1 })).not.toThrow()
    if (zero.includes(name)) expect(peer({ [name]: 0 })).not.toThrow()
    else expect(peer({ [name]: 0 })).toThrow(RangeError)
  }
})

test('an unknown option is refused, one that every object inherits too', () => {
  expect(peer({ timeout: 1 })).toThrow('Unknown peer option "timeout"')
  expect(peer({ tsl: true })).toThrow('Unknown peer option "tsl"; did you mean "tls"?')
  expect(peer({ connectTimeout: 1 })).toThrow('did you mean "connectTimeoutMs"?')
  expect(peer({ rejectUnauthorized: false })).toThrow('known are tls, sni, verifyCertificate,')
  expect(() => new HttpPeer('a:80', true as never)).toThrow('options of a peer to be an object')
  expect(peer({ constructor: 1 })).toThrow('Unknown peer option "constructor"')
  expect(peer(JSON.parse('{"__proto__": 1}'))).toThrow('Unknown peer option "__proto__"')
})

test('options that make no sense together', () => {
  expect(peer({ tls: true, cert: 'x' })).toThrow('"cert" and "key"')
  expect(peer({ tls: true, key: 'x' })).toThrow('"cert" and "key"')
  for (const name of ['sni', 'ca', 'alternativeName', 'curves']) {
    expect(peer({ [name]: 'x' })).toThrow(`"${name}" needs "tls: true"`)
  }
  const connect = () => Promise.reject(new Error('unused'))
  expect(peer({ connect, proxy: { address: 'a:1' } })).toThrow('exclude each other')
  expect(peer({ connect, dispatcher: { dispatch: () => true } })).toThrow('exclude each other')
})

test('an address comes as text, as an object, from a backend, or not at all', () => {
  expect(new HttpPeer('10.0.0.1:80').toString()).toBe('10.0.0.1:80')
  const { address } = new HttpPeer('[::1]:80')
  expect(new HttpPeer(address).reuseKey).toBe(new HttpPeer('[::1]:80').reuseKey)
  const backend = { address: '10.0.0.1:80', weight: 1 }
  const from = new HttpPeer(backend)
  expect(from.address).toEqual(new HttpPeer('10.0.0.1:80').address)
  expect(from.origin).toBe(backend)
  expect(new HttpPeer(undefined).address).toBeUndefined()
  expect(new HttpPeer(undefined).toString()).toBe('no peer')
  for (const wrong of ['', 'a', 'a:0', 'a:99999', 'a b:80', 'http://a:80']) {
    expect(() => new HttpPeer(wrong), wrong).toThrow(TypeError)
  }
  for (const wrong of [1, {}, null]) expect(() => new HttpPeer(wrong as PeerAddress)).toThrow(TypeError)
})

test('the server name is the given one, else the host when that is a name', () => {
  expect(new HttpPeer('a.test:443', { tls: true }).serverName).toBe('a.test')
  expect(new HttpPeer('10.0.0.1:443', { tls: true }).serverName).toBe('')
  expect(new HttpPeer('[::1]:443', { tls: true }).serverName).toBe('')
  expect(new HttpPeer('10.0.0.1:443', { tls: true, sni: 'b.test' }).serverName).toBe('b.test')
  expect(new HttpPeer('10.0.0.1:443', { tls: true, sni: 'b.test' }).toString()).toBe(
    '10.0.0.1:443 (TLS, SNI b.test)',
  )
})

test('options that are not frozen are read each time; frozen ones are checked once', () => {
  const options: { readTimeoutMs: number } = { readTimeoutMs: 1 }
  expect(new HttpPeer('a:80', options).options.readTimeoutMs).toBe(1)
  options.readTimeoutMs = 2
  expect(new HttpPeer('a:80', options).options.readTimeoutMs).toBe(2)
  const frozen = Object.freeze({ readTimeoutMs: 3 })
  expect(new HttpPeer('a:80', frozen).options).toBe(new HttpPeer('b:80', frozen).options)
  expect(Object.isFrozen(new HttpPeer('a:80', options).options)).toBe(true)
})

test('types', () => {
  expectTypeOf<ConstructorParameters<typeof HttpPeer>[0]>().toEqualTypeOf<PeerAddress>()
  // @ts-expect-error a misspelt option is found by the compiler
  expect(() => new HttpPeer('a:80', { readTimeout: 1 })).toThrow()
})
