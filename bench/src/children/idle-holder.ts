// Opens keep-alive connections, uses each once and leaves it idle: node idle-holder.ts PORT PATH COUNT
// Prints how many stand; then, for every line on stdin, how many still do. Ends when stdin does.
import { connect } from 'node:net'

const AT_ONCE = 64
const RESPONSE_TIMEOUT_MS = 10_000

const [portText, path, countText] = process.argv.slice(2)
const port = Number(portText)
const total = Number(countText)
const request = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`
let started = 0
let settled = 0
let standing = 0

function next(): void {
  if (started === total) return
  started += 1
  const socket = connect(port, '127.0.0.1')
  let text = ''
  let stands = false
  let over = false
  function settle(): void {
    if (over) return
    over = true
    settled += 1
    if (settled === total) process.stdout.write(`${standing}\n`)
    next()
  }
  socket.setTimeout(RESPONSE_TIMEOUT_MS, () => {
    if (!stands) socket.destroy()
  })
  socket.write(request)
  socket.on('data', (chunk) => {
    if (stands) return
    text += chunk.toString('latin1')
    const end = text.indexOf('\r\n\r\n')
    const length = Number(/\r\ncontent-length:\s*(\d+)/i.exec(text)?.[1] ?? 0)
    if (end < 0 || text.length < end + 4 + length) return
    stands = true
    standing += 1
    text = ''
    settle()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    if (stands) standing -= 1
    settle()
  })
}

for (let lane = 0; lane < Math.min(AT_ONCE, total); lane += 1) next()
process.stdin.on('data', () => process.stdout.write(`${standing}\n`))
process.stdin.on('end', () => process.exit(0))
