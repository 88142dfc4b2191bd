import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'

/** An origin on Node.js's own HTTP server: what a proxy under test has behind it. Closed at the end of its scope. */
export class TestUpstream implements AsyncDisposable {
  readonly server: Server
  /** `host:port` or `unix:/path`. */
  readonly address: string
  /** Requests that have arrived. */
  requestCount = 0

  private constructor(server: Server, address: string) {
    this.server = server
    this.address = address
    server.on('request', () => {
      this.requestCount++
    })
  }

  /**
   * Starts one.
   *
   * @param path - Of a Unix socket; without it any free port of 127.0.0.1.
   */
  static async start(
    listener: RequestListener,
    options: { readonly path?: string; readonly port?: number; readonly tls?: ServerOptions } = {},
  ): Promise<TestUpstream> {
    const { path, port = 0, tls } = options
    const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
    if (path === undefined) server.listen(port, '127.0.0.1')
    else server.listen(path)
    await once(server, 'listening')
    const bound = path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`
    return new TestUpstream(server, bound)
  }

  /** Starts one that answers every request with this text. */
  static saying(text: string): Promise<TestUpstream> {
    return TestUpstream.start((_request, response) => response.end(text))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.server.listening) return
    this.server.close()
    this.server.closeAllConnections()
    await once(this.server, 'close')
  }
}

/** An address of 127.0.0.1 where nobody listens. */
export async function unusedAddress(): Promise<string> {
  const upstream = await TestUpstream.saying('')
  await upstream[Symbol.asyncDispose]()
  return upstream.address
}
