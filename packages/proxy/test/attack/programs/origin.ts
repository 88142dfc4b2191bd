// An origin in a process of its own that does what the target says: `/fair` answers, the others do harm.
import { type AddressInfo, createServer, type Socket } from 'node:net'

const LONG = 'y'.repeat(65_536)
const TINY = '1\r\ny\r\n'.repeat(8_192)
const INTERIM = `HTTP/1.1 103 Early Hints\r\nX: ${'y'.repeat(40_960)}\r\n\r\n`

/** Writes `text` for ever, as fast as it is taken. */
function flood(socket: Socket, text: string): void {
  const pour = () => {
    while (socket.writable && !socket.writableNeedDrain) socket.write(text)
  }
  socket.on('drain', pour)
  pour()
}

function answer(socket: Socket, target: string): void {
  if (target === '/fair') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfair')
  else if (target === '/endless') {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n')
    flood(socket, LONG)
  } else if (target === '/tiny') {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    flood(socket, TINY)
  } else if (target === '/interim') flood(socket, INTERIM)
  else if (target === '/tunnel') {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
    flood(socket, LONG)
  }
}

const server = createServer((socket) => {
  socket.on('error', () => undefined)
  // No request of these attacks is split or follows another before its answer.
  socket.on('data', (data) => {
    const [, target] = /^[A-Z]+ (\/[a-z]+) HTTP/.exec(data.toString('latin1', 0, 40)) ?? []
    if (target !== undefined) answer(socket, target)
  })
})
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit())
