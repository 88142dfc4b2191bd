import { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { readClientHello } from '@cirque/stream-proxy'
import fc from 'fast-check'
import { readServerName } from '../../../packages/core/src/tls/client-hello.ts'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

/** The ClientHello that OpenSSL sends, with a short key so that inputs stay short. */
async function record(servername: string | undefined, ALPNProtocols: string[]): Promise<Buffer> {
  return await new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, callback) {
        resolve(chunk)
        callback()
      },
    })
    const socket = connect({
      socket: wire,
      ALPNProtocols,
      ecdhCurve: 'X25519',
      ...(servername === undefined ? {} : { servername }),
    })
    socket.on('error', () => {})
    setImmediate(() => socket.destroy())
  })
}

const recorded: Buffer[] = [await record('example.com', ['h2', 'http/1.1']), await record(undefined, [])]

/** The same handshake in records of `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const body = hello.subarray(5)
  const parts: Buffer[] = []
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size)
    const head = Buffer.from([0x16, 3, 1, 0, 0])
    head.writeUInt16BE(piece.length, 3)
    parts.push(head, piece)
  }
  return Buffer.concat(parts)
}

/** The beginning of a TLS connection: splits of the bytes and into records say the same. */
export const target: Target = {
  name: 'client-hello',
  seeds: [...recorded, ...recorded.map((hello) => inRecords(hello, 100))],
  words: ['\0\0', '\0\x10', '\x16\x03\x01', '\x01\0', 'example.com', '\0\x0c\0\0\x09'],
  inputs: fc
    .tuple(fc.constantFrom(...recorded), fc.integer({ min: 1, max: 600 }))
    .map(([hello, size]) => inRecords(hello, size)),
  run(input) {
    const result = readClientHello(input)
    for (const length of new Set([0, 1, 4, 5, 6, 9, input.length >> 1, input.length - 1])) {
      if (length < 0 || length > input.length) continue
      const part = readClientHello(input.subarray(0, length))
      if (part.kind === 'partial') continue
      same('a part says what the whole says, or nothing', part.kind, result.kind)
    }
    const name = readServerName(input)
    for (const length of new Set([1, 4, 5, 6, 9, input.length >> 1, input.length - 1])) {
      if (length < 0 || length > input.length) continue
      const part = readServerName(input.subarray(0, length))
      if (part.kind !== 'more') same('the same of the name alone', part, name)
      else holds('a look that is worth while needs more', part.bytesMin > length)
    }
    if (result.kind === 'partial') holds('another look needs more', result.bytesMin > input.length)
    if (result.kind !== 'hello') return
    same(
      'listeners of TLS read the same name',
      name.kind === 'name' ? name.serverName.toLowerCase() : undefined,
      result.hello.serverName,
    )
    const { serverName, alpnProtocols } = result.hello
    if (serverName !== undefined)
      holds('a name is a lower-case host name', /^[a-z0-9._-]{1,255}$/.test(serverName))
    for (const protocol of alpnProtocols)
      holds('a protocol has a name', protocol.length > 0 && protocol.length < 256)
    same('more bytes change nothing', readClientHello(Buffer.concat([input, Buffer.from('more')])), result)
  },
}
