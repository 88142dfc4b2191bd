// What it costs the process to send a head and a body that lie in memory, as one latin1 string or as a
// string and a buffer in one corked write: the numbers behind TEXT_BODY_BYTES_MAX.
//
//   node --conditions=@cirque/source packages/core/bench/response-write.bench.ts
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus } from 'node:os'
import { Worker } from 'node:worker_threads'

const SIZES = [13, 512, 1_024, 2_048, 4_096, 8_192, 10_240, 15_360, 32_768, 65_000]
const ROUNDS = 7
const WRITES = 6_000

const head = `HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 09:54:37 GMT\r\nContent-Length: 10240\r\n\r\n`
const memory = Buffer.allocUnsafeSlow(65_536).fill('x')

// The reader has a thread of its own, so that its work is not counted.
const reader = new Worker(
  `const { parentPort } = require('node:worker_threads')
   const server = require('node:net').createServer((socket) => { socket.resume(); socket.on('error', () => {}) })
   server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`,
  { eval: true },
)
const [port] = (await once(reader, 'message')) as [number]
const socket = connect(port, '127.0.0.1')
await once(socket, 'connect')
socket.setNoDelay(true)

function text(size: number): void {
  socket.write(head + memory.toString('latin1', 0, size), 'latin1')
}

function corked(size: number): void {
  socket.cork()
  socket.write(head, 'latin1')
  socket.write(memory.subarray(0, size))
  socket.uncork()
}

/** CPU time of this thread so far, in ns; Linux counts it exactly, elsewhere the process's has to do. */
function cpuNs(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0])
  } catch {
    const { user, system } = process.cpuUsage()
    return (user + system) * 1000
  }
}

async function measure(write: (size: number) => void, size: number): Promise<number> {
  const start = cpuNs()
  for (let i = 0; i < WRITES; i++) {
    write(size)
    if (socket.writableNeedDrain) await once(socket, 'drain')
    else if (i % 8 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return (cpuNs() - start) / WRITES
}

console.log(
  `Node ${process.version}, ${cpus()[0]?.model ?? 'unknown CPU'}; CPU ns per response, best of ${ROUNDS} rounds`,
)
console.log('bytes\ttext\tcorked')
for (const size of SIZES) {
  const best = [Infinity, Infinity]
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, write] of [text, corked].entries()) {
      best[index] = Math.min(best[index] as number, await measure(write, size))
    }
  }
  console.log(`${size}\t${best[0]?.toFixed(0)}\t${best[1]?.toFixed(0)}`)
}
socket.destroy()
await reader.terminate()
