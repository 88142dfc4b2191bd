// An upstream in a thread of its own, so that it can answer and close while its client's event loop stands still.
import net, { type AddressInfo, type Socket } from 'node:net'
import tls, { type TlsOptions } from 'node:tls'
import { parentPort, workerData } from 'node:worker_threads'

const { answer, end, readBytes, secure, done } = workerData as {
  /** What it sends as soon as it has read enough; sockets of later connections do the same. */
  answer: string
  end: 'close' | 'reset'
  /** Bytes it reads of each request before it answers. */
  readBytes: number
  secure: TlsOptions | undefined
  /** Counts connections that were closed. */
  done: Int32Array
}

function serve(socket: Socket): void {
  let seen = 0
  let first = ''
  socket.on('error', () => undefined)
  socket.on('close', () => {
    Atomics.add(done, 0, 1)
    Atomics.notify(done, 0)
  })
  socket.on('data', (data: Buffer) => {
    if (first === '') first = data.toString('latin1', 0, 4)
    if (first === 'GET ') {
      first = ''
      socket.write('HTTP/1.1 204 No Content\r\n\r\n')
      return
    }
    seen += data.length
    if (seen < readBytes) return
    socket.pause()
    socket.write(answer, () => {
      if (end === 'reset' && secure === undefined) socket.resetAndDestroy()
      else socket.destroy()
    })
  })
}

const server = secure === undefined ? net.createServer(serve) : tls.createServer(secure, serve)
server.on('tlsClientError', () => undefined)
server.listen(0, '127.0.0.1', () => parentPort?.postMessage((server.address() as AddressInfo).port))
