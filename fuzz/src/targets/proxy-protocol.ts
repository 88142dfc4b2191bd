import { type ProxyHeader, proxyTlvFacts, readProxyHeader, writeProxyHeader } from '@cirque/core'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const endpoint = fc.record({ address: fc.ipV4(), port: fc.nat(65_535) })
const endpoint6 = fc.record({ address: fc.ipV6(), port: fc.nat(65_535) })
const tlvs = fc.array(
  fc.record({
    type: fc.constantFrom(1, 2, 4, 5, 0x20, 0x30, 0xe0, 0xea, 0xee, 0xff),
    value: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 4 },
)

function header(version: 1 | 2): fc.Arbitrary<Buffer> {
  const tcp4 = fc.tuple(endpoint, endpoint).map((pair) => ['tcp4', pair] as const)
  const tcp6 = fc.tuple(endpoint6, endpoint6).map((pair) => ['tcp6', pair] as const)
  return fc
    .tuple(
      fc.oneof(tcp4, tcp6),
      version === 1 ? fc.constant([]) : tlvs,
      fc.boolean(),
      fc.constantFrom('', 'GET / HTTP/1.1'),
    )
    .map(([[transport, [source, destination]], list, crc32c, rest]) => {
      const made: ProxyHeader = { version, command: 'proxy', transport, source, destination, tlvs: list }
      return Buffer.concat([writeProxyHeader(made, { crc32c }), Buffer.from(rest)])
    })
}

/** PROXY protocol, both versions: splits, and what is written again. */
export const target: Target = {
  name: 'proxy-protocol',
  seeds: [
    'PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET /',
    'PROXY TCP6 2001:db8::1 ::1 1 65535\r\n',
    'PROXY UNKNOWN\r\n',
    Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'),
    Buffer.from('0d0a0d0a000d0a515549540a21110012c0000201c0000209dc0401bb040003aabbcc', 'hex'),
  ],
  words: [
    '\r\n\r\n\0\r\nQUIT\n',
    'PROXY ',
    'TCP4',
    'TCP6',
    'UNKNOWN',
    '\x21\x11\0\x0c',
    '\x21\x21\0\x24',
    '\x21\x31\0\xd8',
  ],
  inputs: fc.oneof(header(1), header(2)),
  run(input) {
    const result = readProxyHeader(input)
    for (let length = 0; length < Math.min(input.length, 300); length += 1) {
      const part = readProxyHeader(input.subarray(0, length))
      if (part.kind === 'partial') continue
      same('a part says what the whole says, or nothing', part.kind, result.kind)
      if (part.kind !== 'header') continue
      same('a header is the same with more behind it', part, result)
      holds('a header has all its bytes', part.bytes <= length)
    }
    if (result.kind !== 'header') return
    holds('it takes bytes that are there', result.bytes > 0 && result.bytes <= input.length)
    proxyTlvFacts(result.header.tlvs)
    const { version } = result.header
    for (const crc32c of version === 2 ? [false, true] : [false]) {
      const again = readProxyHeader(writeProxyHeader(result.header, { crc32c }))
      same('what is written reads the same', again.kind === 'header' ? again.header : again, result.header)
    }
    same(
      'another version is refused',
      readProxyHeader(input, { versions: [version === 1 ? 2 : 1] }).kind,
      'malformed',
    )
  },
}
