import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ADDRESS_CACHE_ENTRIES_MAX, parseAddress } from '../src/index.ts'

test.each(['UNIX:80', 'Unix:/run/a.sock'])('%s is neither a host nor a Unix socket', (text) => {
  expect(() => parseAddress(text)).toThrow(TypeError)
})

test.each([
  ['1.2.3.4:80', '1.2.3.4', 80],
  ['Example.COM:443', 'example.com', 443],
  ['example.com.:443', 'example.com.', 443],
  ['my_service:1', 'my_service', 1],
  ['xn--bcher-kva.example:65535', 'xn--bcher-kva.example', 65535],
  ['3com.com:80', '3com.com', 80],
])('parses %s', (text, host, port) => {
  const address = parseAddress(text)
  expect(address).toEqual({ kind: 'tcp', host, port, text: `${host}:${port}` })
  expect(Object.isFrozen(address)).toBe(true)
})

test.each([
  ['[0:0::1]:443', '[::1]:443'],
  ['[2001:DB8:0:0:1:0:0:1]:1', '[2001:db8::1:0:0:1]:1'],
  ['[2001:db8:0:1:1:1:1:1]:1', '[2001:db8:0:1:1:1:1:1]:1'],
  ['[2001:0db8::0001]:1', '[2001:db8::1]:1'],
  ['[::FFFF:1.2.3.4]:1', '[::ffff:1.2.3.4]:1'],
  ['[::ffff:102:304]:1', '[::ffff:1.2.3.4]:1'],
  ['[fe80::1%eth0]:1', '[fe80::1%eth0]:1'],
])('RFC 5952: %s has one text, %s', (text, canonical) => {
  expect(parseAddress(text).text).toBe(canonical)
  expect(parseAddress(parseAddress(text).text)).toEqual(parseAddress(text))
})

test('parses a Unix socket path and keeps it as written', () => {
  expect(parseAddress('unix:/run/../a b')).toEqual({
    kind: 'unix',
    path: '/run/../a b',
    text: 'unix:/run/../a b',
  })
})

test.each([
  ['', 'the port is missing'],
  ['example.com', 'the port is missing'],
  [':80', 'the host is missing'],
  ['::1:80', 'needs brackets'],
  ['[::1]', 'a port must follow'],
  ['[::1]x:1', 'a port must follow'],
  ['[::1:1', 'not closed'],
  ['[1.2.3.4]:1', 'not an IPv6 address'],
  ['[2001:db8::1%eth0]:1', 'link-local'],
  ['[fe80::1%a/b]:1', 'not a zone id'],
  ['a:080', 'not a number from 0 to 65535'],
  ['a:65536', 'not a number from 0 to 65535'],
  ['a:+1', 'not a number from 0 to 65535'],
  ['a: 1', 'not a number from 0 to 65535'],
  ['a:', 'not a number from 0 to 65535'],
  ['127.1:80', 'not a dotted IPv4 address'],
  ['0x7f000001:80', 'not a dotted IPv4 address'],
  ['1.2.3.04:80', 'not a dotted IPv4 address'],
  ['256.1.1.1:80', 'not a dotted IPv4 address'],
  ['a..b:80', 'empty label'],
  ['-a:80', 'cannot be part of a host name'],
  ['a b:80', 'cannot be part of a host name'],
  ['bücher.example:80', 'cannot be part of a host name'],
  ['a\0b:80', 'cannot be part of a host name'],
  ['http://a:80', 'it is a URL'],
  ['1.2.3.4:0', 'port 0'],
  ['unix:relative', 'must be absolute'],
  ['unix:/a/', 'names a directory'],
  ['unix:/a\0b', 'contains a NUL'],
  [`unix:/${'x'.repeat(200)}`, 'the system takes'],
  [`${'x'.repeat(64)}:80`, 'cannot be part of a host name'],
  [`${'x.'.repeat(127)}x:80`, 'longer than 253'],
  ['x'.repeat(100_000), 'too long'],
])('refuses %j', (text, reason) => {
  expect(() => parseAddress(text)).toThrow(TypeError)
  expect(() => parseAddress(text)).toThrow(reason)
})

test('takes port 0 only when asked to, however often the text was seen', () => {
  expect(parseAddress('[::]:0', { allowPortZero: true }).text).toBe('[::]:0')
  expect(() => parseAddress('[::]:0')).toThrow('port 0')
  expect(parseAddress('[::]:0', { allowPortZero: true }).text).toBe('[::]:0')
})

test('gives the same frozen object for the same text while it is cached', () => {
  expect(parseAddress('same.example:1')).toBe(parseAddress('same.example:1'))
  const before = parseAddress('old.example:1')
  for (let port = 1; port <= ADDRESS_CACHE_ENTRIES_MAX + 1; port += 1) parseAddress(`fill.example:${port}`)
  expect(parseAddress('old.example:1')).not.toBe(before)
  expect(parseAddress('old.example:1')).toEqual(before)
})

test('any text either parses to a fixed point or throws a TypeError', () => {
  const texts = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'aZ09.:[]%-_/ux \0é') }),
    fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([host, port]) => `[${host}]:${port}`),
    fc.tuple(fc.domain(), fc.nat(70_000)).map(([host, port]) => `${host}:${port}`),
  )
  fc.assert(
    fc.property(texts, (text) => {
      let address: ReturnType<typeof parseAddress>
      try {
        address = parseAddress(text, { allowPortZero: true })
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError)
        return
      }
      expect(parseAddress(address.text, { allowPortZero: true })).toEqual(address)
    }),
  )
})
