// The end of a relay: node stream-origin.ts PORT
// The first 32 bytes of a connection say what to do: "GET <bytes>" sends as many, "PUT" takes all that follows and then
// tells how many bytes it took.
import { createServer } from 'node:net'
import { COMMAND_BYTES, sendBytes } from '../stream.ts'

const server = createServer({ allowHalfOpen: true }, (socket) => {
  let taken = 0
  socket.on('error', () => {})
  socket.once('data', (first) => {
    const [verb, bytes] = first.toString('latin1', 0, COMMAND_BYTES).split(' ')
    if (verb === 'GET') void sendBytes(socket, Number(bytes))
    else {
      taken = first.length - COMMAND_BYTES
      socket.on('data', (chunk) => {
        taken += chunk.length
      })
    }
  })
  socket.on('end', () => {
    if (!socket.writableEnded) socket.end(String(taken))
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1')
