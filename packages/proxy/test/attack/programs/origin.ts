// An origin in a process of its own that does what the target says: `/fair` answers, the others do harm.
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { brotliCompressSync, constants, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { spin } from '../support/spin.ts'

const LONG = Buffer.alloc(65_536, 'y')
const TINY = Buffer.from('1\r\ny\r\n'.repeat(8_192))
const INTERIM = Buffer.from(`HTTP/1.1 103 Early Hints\r\nX: ${'y'.repeat(40_960)}\r\n\r\n`)
const ZEROS = Buffer.alloc(64 << 20)
const BOMBS: Record<string, () => Buffer> = {
  gzip: () => gzipSync(ZEROS),
  br: () => brotliCompressSync(ZEROS, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
  zstd: () => zstdCompressSync(ZEROS),
}
const bombs = new Map<string, Buffer>()
/** A piece of a stream of gzip that unfolds about a hundredfold, and may be followed by itself. */
const UNFOLDS = deflateRawSync(Buffer.concat(Array.from({ length: 1_000 }, (_, i) => Buffer.alloc(700, i))), {
  finishFlush: constants.Z_FULL_FLUSH,
})
const GZIP_HEAD = gzipSync('').subarray(0, 10)

/** Writes `bytes` for ever, as fast as they are taken. */
function flood(socket: Socket, bytes: Buffer): void {
  const pour = () => {
    while (socket.writable && !socket.writableNeedDrain) socket.write(bytes)
  }
  socket.on('drain', pour)
  pour()
}

function answer(socket: Socket, target: string): void {
  if (target === '/fair') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfair')
  else if (target === '/keys') socket.write('HTTP/1.1 204 No Content\r\n\r\n')
  else if (target === '/endless') {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n')
    flood(socket, LONG)
  } else if (target === '/tiny') {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    flood(socket, TINY)
  } else if (target === '/interim') flood(socket, INTERIM)
  else if (target === '/tunnel' || target === '/echo') {
    socket.removeAllListeners('data')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n')
    if (target === '/tunnel') flood(socket.resume(), LONG)
    else socket.pipe(socket)
  } else if (target.startsWith('/bomb-')) {
    const coding = target.slice(6)
    const bomb = bombs.get(coding) ?? (BOMBS[coding] as () => Buffer)()
    bombs.set(coding, bomb)
    socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bomb.length}\r\n\r\n`)
    socket.write(bomb)
  } else if (target === '/unfold') {
    socket.write('HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n')
    socket.write(GZIP_HEAD)
    flood(socket, UNFOLDS)
  }
}

const server = createServer((socket) => {
  socket.on('error', () => undefined)
  socket.on('end', () => socket.end())
  // No request of these attacks is split or follows another before its answer, but for those whose fields are many.
  socket.on('data', (data) => {
    const [, target] = /^[A-Z]+ (\/[a-z-]+)\S* HTTP/.exec(data.toString('latin1', 0, 60)) ?? []
    if (target !== undefined) answer(socket, target)
  })
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
let stop: (() => void) | null = null
// As busy as an attack makes it, and with nothing that concerns anybody else; or not any more.
process.on('message', (busy: boolean) => {
  stop?.()
  stop = busy ? spin() : null
})
process.on('disconnect', () => process.exit())
