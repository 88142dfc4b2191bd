import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TicketKeys } from '../src/index.ts'
import { CLIENT_HELLO_BYTES_MAX, readServerName } from '../src/tls/client-hello.ts'
import { normalServerName, ServerNameMap } from '../src/tls/server-names.ts'
import { verifyName } from '../src/tls/verify-name.ts'

/** The first bytes that Node.js's own client sends. */
async function clientHello(servername: string): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes)
      socket.destroy()
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, servername })
  client.on('error', () => undefined)
  const bytes = await promise
  client.destroy()
  server.close()
  await once(server, 'close')
  return bytes
}

/** The same handshake message in records of `size` bytes. */
function inRecordsOf(size: number, hello: Buffer): Buffer {
  const message = hello.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    const fragment = message.subarray(at, at + size)
    records.push(Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment)
  }
  return Buffer.concat(records)
}

describe('the server name in a ClientHello', () => {
  test('is found however the message is cut into packets', async () => {
    const hello = await clientHello('shop.example')
    for (let end = 0; end < hello.length; end += 1) {
      expect(readServerName(hello.subarray(0, end))).toMatchObject({ kind: 'more' })
    }
    expect(readServerName(hello)).toEqual({ kind: 'name', serverName: 'shop.example' })
    expect(readServerName(Buffer.concat([hello, Buffer.from('more')]))).toMatchObject({ kind: 'name' })
  })

  test.each([1, 3, 4, 5, 100, 1000])('is found in records of %i bytes (RFC 8446 §5.1)', async (size) => {
    const bytes = inRecordsOf(size, await clientHello('shop.example'))
    expect(readServerName(bytes)).toEqual({ kind: 'name', serverName: 'shop.example' })
    expect(readServerName(bytes.subarray(0, bytes.length - 1))).toMatchObject({ kind: 'more' })
  })

  test.each([1, 2, 7, 5_000])(
    'in records of %i bytes, packet by packet, is not looked for again and again',
    async (size) => {
      const hello = await clientHello('shop.example')
      const bytes = inRecordsOf(size, hello)
      let looks = 0
      for (let end = 1; ; ) {
        const result = readServerName(bytes.subarray(0, end))
        looks += 1
        if (result.kind !== 'more') {
          expect(result).toEqual({ kind: 'name', serverName: 'shop.example' })
          break
        }
        expect(result.bytesMin).toBeGreaterThan(end)
        expect(readServerName(bytes.subarray(0, result.bytesMin - 1)).kind).toBe('more')
        end = result.bytesMin
      }
      expect(looks).toBeLessThan(80)
    },
  )

  test('is none without the extension, and in what is no ClientHello', async () => {
    expect(readServerName(await clientHello(''))).toEqual({ kind: 'none' })
    expect(readServerName(Buffer.from('GET / HTTP/1.1\r\n'))).toEqual({ kind: 'none' })
    expect(readServerName(Buffer.from([22, 3, 1, 0, 0]))).toEqual({ kind: 'none' }) // an empty record
    expect(readServerName(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0]))).toEqual({ kind: 'none' }) // a ServerHello
    expect(readServerName(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0]))).toEqual({ kind: 'none' }) // cut within
  })

  test('a message that promises to be too long is not waited for', () => {
    const size = CLIENT_HELLO_BYTES_MAX - 4
    const head = (length: number) => Buffer.from([22, 3, 1, 0x40, 0, 1, 0, length >> 8, length & 255])
    expect(readServerName(head(size))).toMatchObject({ kind: 'more' })
    expect(readServerName(head(size + 1))).toEqual({ kind: 'none' })
  })

  test('no bytes make it throw, and none beyond the cap are waited for', async () => {
    const hello = await clientHello('shop.example')
    fc.assert(
      fc.property(fc.nat(hello.length - 1), fc.nat(255), fc.nat(hello.length), (at, byte, end) => {
        const broken = Buffer.from(hello)
        broken[at] = byte
        readServerName(broken.subarray(0, end))
      }),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void readServerName(Buffer.from(bytes))),
    )
    const endless = Buffer.alloc(CLIENT_HELLO_BYTES_MAX + 10, Buffer.from([22, 3, 1, 0, 1, 1]))
    expect(readServerName(endless).kind).toBe('none')
  })
})

describe('server names', () => {
  test.each([
    ['Shop.EXAMPLE', 'shop.example'],
    ['shop.example.', 'shop.example'],
    ['a_b.example', 'a_b.example'],
    ['', undefined],
    ['.', undefined],
    ['a..b', undefined],
    ['../../etc/passwd', undefined],
    ['a\0b', undefined],
    ['ä.example', undefined],
    [`${'a'.repeat(64)}.example`, undefined],
    [`${'a.'.repeat(126)}ab`, 'x'],
    [undefined, undefined],
  ])('%j in its normal form is %j', (name, expected) => {
    expect(normalServerName(name)).toBe(expected === 'x' ? name : expected)
  })

  test('an exact name goes before a wildcard, which stands for one label', () => {
    const names = new ServerNameMap<string>()
    expect(names.add('*.Example.com', 'wild')).toBe(true)
    expect(names.add('a.example.com', 'exact')).toBe(true)
    expect(names.add('A.example.com.', 'again')).toBe(false)
    const asked = ['a.example.com', 'b.example.com', 'c.b.example.com', 'example.com', 'com']
    expect(asked.map((name) => names.find(name))).toEqual(['exact', 'wild', undefined, undefined, undefined])
    expect(() => names.add('*', 'x')).toThrow(TypeError)
    expect(() => names.add('a.*.com', 'x')).toThrow(TypeError)
  })

  test('an underscore in the leftmost label may be a hyphen in the certificate', () => {
    const certificate = { subject: {}, subjectaltname: 'DNS:a-b.example' } as Parameters<typeof verifyName>[1]
    expect(verifyName('a_b.example', certificate)).toBeUndefined()
    expect(verifyName('a-b.example', certificate)).toBeUndefined()
    expect(verifyName('a_c.example', certificate)).toBeInstanceOf(Error)
    const other = { subject: {}, subjectaltname: 'DNS:x.a-b.example' } as typeof certificate
    expect(verifyName('x.a_b.example', other)).toBeInstanceOf(Error)
  })
})

describe('TicketKeys', () => {
  const HOUR = 3_600_000

  test('rotate by the clock, and give the same buffer until then', () => {
    let time = 5 * HOUR
    const keys = new TicketKeys({ rotationMs: HOUR, now: () => time })
    const first = keys.key
    expect(first).toHaveLength(48)
    time += HOUR - 1
    expect(keys.key).toBe(first)
    time += 1
    expect(keys.key).not.toEqual(first)
    const second = keys.key
    time -= HOUR // a clock that goes back changes nothing
    expect(keys.key).toBe(second)
  })

  test('who imports a state stays in step, however many rotations later', () => {
    fc.assert(
      fc.property(fc.nat(1000 * HOUR), fc.nat(1000 * HOUR), fc.nat(1000 * HOUR), (start, exported, later) => {
        let time = start
        const now = () => time
        const keys = new TicketKeys({ rotationMs: HOUR, now })
        time += exported
        const state = keys.export()
        const early = TicketKeys.import(state, { now })
        time += later
        expect(keys.key).toEqual(TicketKeys.import(state, { now }).key)
        expect(early.key).toEqual(keys.key)
      }),
    )
  })

  test('a state does not tell the keys before it', () => {
    let time = 0
    const now = () => time
    const keys = new TicketKeys({ rotationMs: HOUR, now })
    const first = keys.key
    time = HOUR
    const state = keys.export()
    time = 0
    expect(TicketKeys.import(state, { now }).key).not.toEqual(first)
  })

  test('a clock that was decades off takes a bounded number of steps', () => {
    let time = 0
    const keys = new TicketKeys({ rotationMs: 60_000, now: () => time })
    const first = keys.key
    time = 60_000 * 1e9
    expect(keys.key).not.toEqual(first)
  })

  test('refuses what makes no sense, without quoting a secret', () => {
    expect(() => new TicketKeys({ rotationMs: 59_999 })).toThrow('received 59999')
    expect(() => new TicketKeys({ rotationMs: 604_800_001 })).toThrow(RangeError)
    const state = new TicketKeys().export()
    for (const wrong of ['', 'x', `${state}.1`, state.slice(0, -4), state.replace('cirque', 'other')]) {
      expect(() => TicketKeys.import(wrong)).toThrow(
        new TypeError('Expected the exported state of TicketKeys'),
      )
    }
    expect(() => TicketKeys.import(undefined as unknown as string)).toThrow(TypeError)
  })
})
