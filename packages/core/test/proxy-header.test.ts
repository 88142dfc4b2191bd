import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type ProxyHeader,
  type ProxyHeaderResult,
  proxyHeaderFor,
  proxyTlvFacts,
  readProxyHeader,
  writeProxyHeader,
} from '../src/index.ts'
import { crc32c } from '../src/proxy-protocol/crc32c.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'

function v2(command: number, family: number, body: string, length = body.length / 2): Buffer {
  const head = [0x20 | command, family, length >>> 8, length & 0xff]
  return Buffer.from(`${SIGNATURE}${Buffer.from(head).toString('hex')}${body}`, 'hex')
}

function headerOf(result: ProxyHeaderResult): ProxyHeader {
  if (result.kind !== 'header') throw new Error(`Expected a header, received ${JSON.stringify(result)}`)
  return result.header
}

const text = (line: string) => Buffer.from(line, 'latin1')

test('reads version 1 over IPv4 and IPv6, and leaves what follows', () => {
  const four = readProxyHeader(text('PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n'))
  expect(four).toEqual({
    kind: 'header',
    header: {
      version: 1,
      command: 'proxy',
      transport: 'tcp4',
      source: { address: '192.0.2.1', port: 56324 },
      destination: { address: '198.51.100.7', port: 443 },
      tlvs: [],
    },
    bytes: 45,
  })
  const six = headerOf(readProxyHeader(text('PROXY TCP6 2001:DB8:0:0::1 ::1 1 65535\r\n')))
  expect(six).toMatchObject({ transport: 'tcp6', source: { address: '2001:db8::1', port: 1 } })
  expect(six.destination).toEqual({ address: '::1', port: 65535 })
})

test('version 1 UNKNOWN has no addresses, whatever stands behind it', () => {
  for (const line of ['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN ffff:: ::1 1 2\r\n', 'PROXY UNKNOWN \x80?\r\n']) {
    expect(readProxyHeader(text(`${line}x`))).toMatchObject({
      kind: 'header',
      bytes: line.length,
      header: { command: 'proxy', transport: 'unspecified', source: undefined, destination: undefined },
    })
  }
})

test.each([
  'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 1\r2\r\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n',
  'PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n',
  'PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n',
  'PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n',
  'PROXY TCP4 ::1 ::1 1 2\r\n',
  'PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n',
  'PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n',
  'PROXY TCP6 ::1 127.0.0.1 1 2\r\n',
  'PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n',
  'PROXY UNKNOWNS\r\n',
  'PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n',
  'PROXY \r\n',
])('refuses version 1 line %j', (line) => {
  expect(readProxyHeader(text(line)).kind).toBe('malformed')
})

test('a version 1 line has at most 107 bytes, line end included', () => {
  const line = (bytes: number) => text(`PROXY UNKNOWN ${'x'.repeat(bytes - 16)}\r\n`)
  expect(line(107).length).toBe(107)
  expect(readProxyHeader(line(106)).kind).toBe('header')
  expect(readProxyHeader(line(107)).kind).toBe('header')
  expect(readProxyHeader(line(108)).kind).toBe('malformed')
  expect(readProxyHeader(line(108).subarray(0, 106)).kind).toBe('partial')
  expect(readProxyHeader(line(108).subarray(0, 107)).kind).toBe('malformed')
})

test('reads version 2 over every transport', () => {
  const ip4 = 'c0000201c633640704d201bb'
  const ip6 = `20010db8${'00'.repeat(11)}01${'00'.repeat(15)}0104d201bb`
  const path = (name: string) => text(name).toString('hex').padEnd(216, '0')
  expect(headerOf(readProxyHeader(v2(1, 0x11, ip4)))).toEqual({
    version: 2,
    command: 'proxy',
    transport: 'tcp4',
    source: { address: '192.0.2.1', port: 1234 },
    destination: { address: '198.51.100.7', port: 443 },
    tlvs: [],
  })
  expect(headerOf(readProxyHeader(v2(1, 0x12, ip4))).transport).toBe('udp4')
  expect(headerOf(readProxyHeader(v2(1, 0x21, ip6)))).toMatchObject({
    transport: 'tcp6',
    source: { address: '2001:db8::1', port: 1234 },
    destination: { address: '::1', port: 443 },
  })
  expect(headerOf(readProxyHeader(v2(1, 0x22, ip6))).transport).toBe('udp6')
  expect(headerOf(readProxyHeader(v2(1, 0x31, path('/run/a') + path('/run/b'))))).toMatchObject({
    transport: 'unix-stream',
    source: { address: '/run/a', port: 0 },
    destination: { address: '/run/b', port: 0 },
  })
  expect(headerOf(readProxyHeader(v2(1, 0x32, path('a') + '61'.repeat(108)))).transport).toBe('unix-datagram')
  expect(headerOf(readProxyHeader(v2(1, 0x00, '')))).toMatchObject({ command: 'proxy', source: undefined })
})

test('of LOCAL nothing counts but the length', () => {
  const local = readProxyHeader(v2(0, 0xff, 'deadbeef'))
  expect(local).toMatchObject({ kind: 'header', bytes: 20 })
  expect(headerOf(local)).toMatchObject({ command: 'local', transport: 'unspecified', tlvs: [] })
})

test('a Unix path that is not UTF-8 is refused, not made another one', () => {
  const name = 'ff'.padEnd(216, '0')
  const good = '61'.padEnd(216, '0')
  for (const paths of [name + good, good + name]) {
    expect(readProxyHeader(v2(1, 0x31, paths))).toMatchObject({
      kind: 'malformed',
      reason: 'the path of a Unix socket is not UTF-8',
    })
  }
})

test.each([
  ['an unknown version', Buffer.from(`${SIGNATURE}31110000`, 'hex')],
  ['an unknown command', v2(2, 0x11, '00'.repeat(12))],
  ['an unknown family', v2(1, 0x41, '00'.repeat(12))],
  ['an unknown transport', v2(1, 0x13, '00'.repeat(12))],
  ['a transport without family', v2(1, 0x01, '')],
  ['addresses that do not fit', v2(1, 0x11, '00'.repeat(11))],
  ['IPv6 in the room of IPv4', v2(1, 0x21, '00'.repeat(12))],
  ['a TLV head that is cut off', v2(1, 0x11, `${'00'.repeat(12)}0100`)],
  ['a TLV that is too long', v2(1, 0x11, `${'00'.repeat(12)}01000261`)],
  ['a checksum of 3 bytes', v2(1, 0x11, `${'00'.repeat(12)}030003000000`)],
  ['a wrong checksum', v2(1, 0x11, `${'00'.repeat(12)}03000400000000`)],
])('refuses version 2 with %s', (_what, bytes) => {
  expect(readProxyHeader(bytes).kind).toBe('malformed')
})

test('a header longer than the cap is refused at its sixteenth byte', () => {
  const header = v2(1, 0x00, `0400${'fd'}${'00'.repeat(253)}`)
  expect(header.length).toBe(16 + 256)
  expect(readProxyHeader(header, { headerBytesMax: 273 }).kind).toBe('header')
  expect(readProxyHeader(header, { headerBytesMax: 272 }).kind).toBe('header')
  expect(readProxyHeader(header.subarray(0, 16), { headerBytesMax: 271 }).kind).toBe('malformed')
  expect(readProxyHeader(header.subarray(0, 15), { headerBytesMax: 271 }).kind).toBe('partial')
  expect(readProxyHeader(v2(1, 0, '', 4096 - 16)).kind).toBe('partial')
  expect(readProxyHeader(v2(1, 0, '', 4096 - 15)).kind).toBe('malformed')
})

test('only the versions that are allowed are taken', () => {
  expect(readProxyHeader(text('PROXY UNKNOWN\r\n'), { versions: [2] }).kind).toBe('malformed')
  expect(readProxyHeader(v2(0, 0, ''), { versions: [1] }).kind).toBe('malformed')
  expect(readProxyHeader(v2(0, 0, ''), { versions: [2] }).kind).toBe('header')
})

test.each([
  'GET / HTTP/1.1\r\n',
  'PROPFIND / HTTP/1.1',
  'PRI * HTTP/2.0',
  '\x16\x03\x01',
  '\r\n\r\nGET',
  'PROXY\t',
])('%j is no header', (line) => {
  expect(readProxyHeader(text(line)).kind).toBe('absent')
})

test('the checksum is the CRC32c of RFC 3720 appendix B.4', () => {
  expect(crc32c(Buffer.alloc(32), 32)).toBe(0x8a9136aa)
  expect(crc32c(Buffer.alloc(32, 0xff), 32)).toBe(0x62a8ab43)
  expect(crc32c(Buffer.from('123456789'), 9)).toBe(0xe3069283)
  expect(crc32c(Buffer.from('1234xxxx56789'), 4)).toBe(crc32c(Buffer.from('1234\0\0\0\x0056789'), 99))
})

test('a checksum is verified over the whole header', () => {
  const header = proxyHeaderFor(
    { remoteAddress: '192.0.2.1', remotePort: 1, localAddress: '192.0.2.2', localPort: 2 },
    2,
    { tlvs: [{ type: 0x02, value: Buffer.from('a.example') }] },
  )
  const bytes = writeProxyHeader(header, { crc32c: true })
  expect(headerOf(readProxyHeader(bytes))).toEqual(header)
  // Bits of the addresses, the TLV's type and value, the checksum: all but those that say where things stand.
  for (const at of [16, 20, 25, 27, 28, 31, 36, bytes.length - 1]) {
    const broken = Buffer.from(bytes)
    broken[at] = (broken[at] as number) ^ 0x40
    expect(readProxyHeader(broken).kind, `byte ${at}`).toBe('malformed')
  }
  const twice = Buffer.concat([bytes, bytes.subarray(-7)])
  twice.writeUInt16BE(twice.length - 16, 14)
  expect(readProxyHeader(twice).kind).toBe('malformed')
})

test('reads the TLVs of TLS and of the clouds', () => {
  const tlv = (type: number, value: Buffer) => Buffer.concat([Buffer.from([type, 0, value.length]), value])
  const tls = Buffer.concat([
    Buffer.from([0x07, 0, 0, 0, 0]),
    tlv(0x21, text('TLSv1.3')),
    tlv(0x22, text('client.example')),
    tlv(0x23, text('TLS_AES_128_GCM_SHA256')),
    tlv(0x24, text('RSA-SHA256')),
    tlv(0x25, text('RSA2048')),
    tlv(0x28, text('DER')),
  ])
  const facts = proxyTlvFacts([
    { type: 0x01, value: text('h2') },
    { type: 0x02, value: text('a.example') },
    { type: 0x05, value: text('id') },
    { type: 0x30, value: text('blue') },
    { type: 0x20, value: tls },
    { type: 0xea, value: text('\x01vpce-08d2bf15fac5001c9') },
    { type: 0xee, value: Buffer.from('0178563412', 'hex') },
    { type: 0xe0, value: Buffer.from('00000000000000ff', 'hex') },
  ])
  expect(facts).toEqual({
    alpn: 'h2',
    authority: 'a.example',
    uniqueId: text('id'),
    netns: 'blue',
    tls: {
      tls: true,
      certificateOnConnection: true,
      certificateInSession: true,
      verified: true,
      version: 'TLSv1.3',
      cipher: 'TLS_AES_128_GCM_SHA256',
      commonName: 'client.example',
      signatureAlgorithm: 'RSA-SHA256',
      keyAlgorithm: 'RSA2048',
      clientCertificate: text('DER'),
    },
    awsVpcEndpointId: 'vpce-08d2bf15fac5001c9',
    azureLinkId: 0x12345678,
    gcpConnectionId: 255n,
  })
})

test('a TLV that is not as defined tells nothing', () => {
  const facts = proxyTlvFacts([
    { type: 0x05, value: Buffer.alloc(129) },
    { type: 0x20, value: Buffer.from([1, 0, 0, 0, 0, 0x21, 0, 9]) },
    { type: 0xea, value: text('\x02x') },
    { type: 0xee, value: text('\x01x') },
    { type: 0xe0, value: text('short') },
  ])
  expect(Object.values(facts).filter((value) => value !== undefined)).toEqual([])
  const certless = proxyTlvFacts([{ type: 0x20, value: Buffer.from([1, 0, 0, 0, 0]) }])
  expect(certless.tls).toMatchObject({ tls: true, verified: false })
})

test('proxyHeaderFor writes IPv4 as such, mixed families as IPv6, and no address as unspecified', () => {
  const make = (remoteAddress: string | undefined, localAddress: string | undefined) =>
    proxyHeaderFor({ remoteAddress, localAddress, remotePort: 1, localPort: 2 }, 1)
  const line = (header: ProxyHeader) => writeProxyHeader(header).toString('latin1')
  expect(line(make('192.0.2.1', '::ffff:192.0.2.2'))).toBe('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n')
  expect(line(make('192.0.2.1', '::1'))).toBe('PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n')
  expect(line(make('fe80::1%lo', '::1'))).toBe('PROXY TCP6 fe80::1 ::1 1 2\r\n')
  expect(line(make(undefined, '::1'))).toBe('PROXY UNKNOWN\r\n')
  expect(() => proxyHeaderFor({} as never, 3 as 1)).toThrow(TypeError)
})

test('the writer refuses what it cannot say', () => {
  const end = { address: '192.0.2.1', port: 1 }
  const header: ProxyHeader = {
    version: 2,
    command: 'proxy',
    transport: 'tcp4',
    source: end,
    destination: end,
    tlvs: [],
  }
  const write = (changes: object) => () => writeProxyHeader({ ...header, ...changes })
  expect(write({ transport: 'tcp6' })).toThrow('"192.0.2.1" is not an address of tcp6')
  expect(write({ source: undefined })).toThrow(TypeError)
  expect(write({ source: { address: '192.0.2.1', port: 65_536 } })).toThrow(RangeError)
  expect(write({ transport: 'tcp5' })).toThrow(TypeError)
  expect(write({ version: 3 })).toThrow(TypeError)
  expect(write({ command: 'x' })).toThrow(TypeError)
  expect(write({ version: 1, transport: 'udp4' })).toThrow(TypeError)
  expect(write({ tlvs: [{ type: 256, value: Buffer.alloc(0) }] })).toThrow(RangeError)
  expect(write({ tlvs: [{ type: 3, value: Buffer.alloc(4) }] })).toThrow(TypeError)
  expect(write({ version: 1, tlvs: [{ type: 1, value: Buffer.alloc(0) }] })).toThrow(TypeError)
  expect(write({ tlvs: [{ type: 1, value: Buffer.alloc(65_535 - 12 - 3) }] })).not.toThrow()
  expect(write({ tlvs: [{ type: 1, value: Buffer.alloc(65_535 - 12 - 2) }] })).toThrow(TypeError)
  expect(() => writeProxyHeader(undefined as never)).toThrow(TypeError)
})

const port = fc.integer({ min: 0, max: 65_535 })
const tlvs = fc.array(
  fc.record({
    type: fc.integer({ min: 5, max: 255 }),
    value: fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value)),
  }),
  { maxLength: 4 },
)
const canonical = (ip: string) =>
  headerOf(readProxyHeader(text(`PROXY TCP6 ${ip} ::1 0 0\r\n`))).source?.address ?? ''
const addresses = fc.oneof(
  fc.tuple(fc.constant('tcp4' as const), fc.ipV4(), fc.ipV4()),
  fc.tuple(fc.constant('tcp6' as const), fc.ipV6().map(canonical), fc.ipV6().map(canonical)),
)
const headers: fc.Arbitrary<ProxyHeader> = fc
  .tuple(fc.constantFrom(1 as const, 2 as const), addresses, port, port, tlvs)
  .map(([version, [transport, source, destination], sourcePort, destinationPort, list]) => ({
    version,
    command: 'proxy',
    transport,
    source: { address: source, port: sourcePort },
    destination: { address: destination, port: destinationPort },
    tlvs: version === 1 ? [] : list,
  }))

test('what is written is read as it was, at every split, and never beyond its end', () => {
  fc.assert(
    fc.property(headers, fc.boolean(), fc.uint8Array({ maxLength: 20 }), (header, checksum, rest) => {
      const written = writeProxyHeader(header, { crc32c: checksum })
      const bytes = Buffer.concat([written, rest])
      for (let count = 0; count < written.length; count++) {
        expect(readProxyHeader(bytes.subarray(0, count)).kind).toBe('partial')
      }
      expect(readProxyHeader(bytes)).toEqual({ kind: 'header', header, bytes: written.length })
    }),
    { numRuns: 60 },
  )
})

test('no bytes make the reader throw, or change their mind when more come', () => {
  const start = fc.constantFrom('', SIGNATURE, `${SIGNATURE}2111`, text('PROXY ').toString('hex'), '50524f')
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 80 }), (prefix, tail) => {
      const bytes = Buffer.concat([Buffer.from(prefix, 'hex'), tail])
      const whole = readProxyHeader(bytes)
      for (let count = 0; count <= bytes.length; count++) {
        const part = readProxyHeader(bytes.subarray(0, count))
        if (part.kind !== 'partial') expect(part).toEqual(whole)
      }
    }),
  )
})
