import { type ProxyTlv, proxyTlvFacts, readProxyHeader, writeProxyHeader } from '@cirque/core'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const HEAD = Buffer.from('0d0a0d0a000d0a515549540a2111', 'hex')
const ADDRESSES = Buffer.from('c0000201c0000209dc0401bb', 'hex')
const NOOP = 4
const CRC32C = 3

const tlv = (types: fc.Arbitrary<number>, value: fc.Arbitrary<Buffer>) =>
  fc.tuple(types, value).map(([type, bytes]) => written(type, bytes))
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
const inner = fc
  .tuple(
    fc.nat(7),
    fc.constantFrom(0, 1),
    fc.array(tlv(fc.constantFrom(0x21, 0x22, 0x23, 0x24, 0x25, 0x28), bytes(20)), { maxLength: 4 }),
  )
  .map(([client, verify, parts]) => Buffer.concat([Buffer.from([client, 0, 0, 0, verify]), ...parts]))

/** The values that follow the addresses in a header of PROXY protocol 2, against a plain reading of its text. */
export const target: Target = {
  name: 'proxy-tlvs',
  seeds: [
    Buffer.from('0100026832200015070000000021000754' + '4c5376312e33' + '2200016123000161', 'hex'),
    Buffer.from(
      '02000961' + '2e6578616d706c65' + '05000300ff01ea000501767063' + '65ee0005' + '0112345678',
      'hex',
    ),
    Buffer.from('e00008' + '0123456789abcdef' + '30000161' + '0400020000', 'hex'),
  ],
  words: [
    '\x01\0\x02h2',
    '\x20\0\x05\x07\0\0\0\0',
    '\x21\0\x07TLSv1.3',
    '\xea\0\x05\x01vpce',
    '\xee\0\x05\x01',
    '\x03\0\x04',
  ],
  bytesMax: 1_024,
  inputs: fc
    .array(
      fc.oneof(
        tlv(fc.constantFrom(1, 2, 4, 5, 0x30, 0xe0, 0xea, 0xee, 0xff), bytes(130)),
        tlv(fc.constant(0x20), inner),
      ),
      { maxLength: 5 },
    )
    .map((list) => Buffer.concat(list)),
  run(input) {
    const size = Buffer.alloc(2)
    size.writeUInt16BE(ADDRESSES.length + input.length)
    const result = readProxyHeader(Buffer.concat([HEAD, size, ADDRESSES, input]))
    const list = listed(input)
    const sums = list?.filter(({ type }) => type === CRC32C) ?? []
    if (list === undefined) same('what is cut off is malformed', result.kind, 'malformed')
    // What is right there, the target for whole headers says.
    if (list === undefined || sums.length > 0) return
    if (result.kind !== 'header') throw new Error(`well-formed values are read: ${JSON.stringify(result)}`)
    const { tlvs } = result.header
    same(
      'each is there, in its order',
      tlvs,
      list.filter(({ type }) => type !== NOOP),
    )
    same('they mean what the protocol says', proxyTlvFacts(tlvs), meaning(tlvs))
    const again = readProxyHeader(writeProxyHeader(result.header, { crc32c: true }))
    holds('they are written again', again.kind === 'header')
    if (again.kind === 'header') same('and read again', again.header, result.header)
  },
}

function written(type: number, value: Buffer): Buffer {
  const head = Buffer.from([type, 0, 0])
  head.writeUInt16BE(value.length, 1)
  return Buffer.concat([head, value])
}

/** Type, length and value, to the end; undefined if that does not come out even. */
function listed(bytes: Buffer): ProxyTlv[] | undefined {
  if (bytes.length === 0) return []
  if (bytes.length < 3) return undefined
  const end = 3 + (bytes[1] as number) * 256 + (bytes[2] as number)
  if (bytes.length < end) return undefined
  const rest = listed(bytes.subarray(end))
  return rest === undefined
    ? undefined
    : [{ type: bytes[0] as number, value: bytes.subarray(3, end) }, ...rest]
}

function meaning(tlvs: readonly ProxyTlv[]): ReturnType<typeof proxyTlvFacts> {
  const first = (type: number, list: readonly ProxyTlv[] | undefined = tlvs) =>
    list?.find((one) => one.type === type)?.value
  const text = (value: Buffer | undefined, encoding: 'latin1' | 'utf8' = 'latin1') =>
    value?.toString(encoding)
  const sized = (value: Buffer | undefined, test: (size: number) => boolean) =>
    value !== undefined && test(value.length) ? value : undefined
  const ssl = sized(first(0x20), (size) => size >= 5)
  const parts = ssl === undefined ? undefined : listed(ssl.subarray(5))
  const bits = ssl?.[0] ?? 0
  const azure = sized(first(0xee), (size) => size === 5)
  const google = sized(first(0xe0), (size) => size === 8)
  const amazon = first(0xea)
  return {
    alpn: text(first(1)),
    authority: text(first(2), 'utf8'),
    uniqueId: sized(first(5), (size) => size <= 128),
    netns: text(first(0x30)),
    tls:
      parts === undefined
        ? undefined
        : {
            tls: bits % 2 === 1,
            certificateOnConnection: (bits >> 1) % 2 === 1,
            certificateInSession: (bits >> 2) % 2 === 1,
            verified: (bits >> 1) % 4 > 0 && ssl?.subarray(1, 5).every((byte) => byte === 0) === true,
            version: text(first(0x21, parts)),
            cipher: text(first(0x23, parts)),
            commonName: text(first(0x22, parts), 'utf8'),
            signatureAlgorithm: text(first(0x24, parts)),
            keyAlgorithm: text(first(0x25, parts)),
            clientCertificate: first(0x28, parts),
          },
    awsVpcEndpointId: amazon?.[0] === 1 ? text(amazon.subarray(1)) : undefined,
    azureLinkId:
      azure?.[0] === 1 ? new DataView(azure.buffer, azure.byteOffset).getUint32(1, true) : undefined,
    gcpConnectionId: google === undefined ? undefined : BigInt(`0x${google.toString('hex')}`),
  }
}
