import { once } from 'node:events'
import { createConnection, createServer, type Server, type TcpNetConnectOpts } from 'node:net'
import { MessageChannel } from 'node:worker_threads'

/**
 * Makes sure that this Node.js can move a connection to another thread: it moves one of its own.
 *
 * @throws {Error} If it cannot; the message says which versions can.
 */
export async function probeTransfer(): Promise<void> {
  const server = createServer({ pauseOnConnect: true })
  const { port1, port2 } = new MessageChannel()
  const client = createConnection(await listenLocally(server))
  client.on('error', () => undefined)
  try {
    const [socket] = await once(server, 'connection')
    socket.on('error', () => undefined)
    try {
      port1.postMessage({ socket }, [socket])
    } catch (cause) {
      socket.destroy()
      throw new Error(
        `threads above 1 need Node.js 24.20 or 26.6 or later: ${process.versions.node} cannot move a connection to a thread`,
        { cause },
      )
    }
    const [message] = await once(port2, 'message')
    message.socket.on('error', () => undefined)
    message.socket.destroy()
  } finally {
    client.destroy()
    server.close()
    port1.close()
  }
}

async function listenLocally(server: Server): Promise<TcpNetConnectOpts> {
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return { host: '127.0.0.1', port }
}
