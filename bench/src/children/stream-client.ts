// Moves bytes through a relay and checks that they arrived: node stream-client.ts PORT GET|PUT BYTES
// Prints the seconds that it took.
import { once } from 'node:events'
import { connect } from 'node:net'
import { COMMAND_BYTES, sendBytes } from '../stream.ts'

const [port, verb, bytesText] = process.argv.slice(2)
const bytes = Number(bytesText)
const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
const startedAt = performance.now()
socket.write(`${verb} ${bytes} `.padEnd(COMMAND_BYTES))
let received = 0
let text = ''
socket.on('data', (chunk) => {
  received += chunk.length
  if (verb === 'PUT') text += chunk.toString('latin1')
})
const ended = once(socket, 'end')
if (verb === 'PUT') await sendBytes(socket, bytes)
await ended
socket.end()
const arrived = verb === 'PUT' ? Number(text) : received
if (arrived !== bytes) throw new Error(`${arrived} of ${bytes} bytes arrived`)
process.stdout.write(`${(performance.now() - startedAt) / 1_000}\n`)
