import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import {
  type HttpServerApp,
  type HttpServerOptions,
  type ServeHttp,
  type ServeHttpErrorListener,
  serveHttp,
} from '../../src/index.ts'

/** An application behind a socket on port 0. Disposal waits until every connection has closed: a leak fails the test. */
export class TestServer implements AsyncDisposable {
  readonly app: HttpServerApp
  readonly server: net.Server
  readonly sockets: Set<Socket> = new Set()

  constructor(app: HttpServerApp) {
    this.app = app
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => this.sockets.delete(socket))
      app.onConnection(socket)
    })
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  /** The server's end of the only connection. */
  get socket(): Socket {
    const [socket] = this.sockets
    if (socket === undefined || this.sockets.size !== 1) throw new Error('There is not one connection')
    return socket
  }

  /** Resolves once no connection is left. */
  async drained(): Promise<void> {
    await Promise.all(
      [...this.sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close()
    await this.drained()
    if (this.app.stats().connections !== 0) throw new Error('The application still counts connections')
  }
}

export async function startApp(app: HttpServerApp): Promise<TestServer> {
  const server = new TestServer(app)
  server.server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  return server
}

export async function startServer(
  serve: ServeHttp,
  options?: HttpServerOptions,
  onError?: ServeHttpErrorListener,
): Promise<TestServer> {
  return startApp(serveHttp(serve, options, onError))
}
