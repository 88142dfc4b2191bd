import { once } from 'node:events'
import type { Socket } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { expect } from 'vitest'
import {
  type ConnectionInfo,
  connectionDigest,
  ListeningService,
  type Logger,
  type ServerApp,
  type TcpAddress,
  type TlsDigest,
  type TlsListenerOptions,
} from '../../src/index.ts'
import { testContext } from '../support.ts'

/** Tells each client the digest of its connection as JSON in one line, then echoes. */
class TellingApp implements ServerApp {
  readonly alpnProtocols: readonly string[] = ['http/1.1']

  onConnection(socket: Socket, _info: ConnectionInfo): void {
    socket.write(`${JSON.stringify(connectionDigest(socket, 0, 1).tls)}\n`)
    socket.pipe(socket)
  }
  startDraining(): void {}
}

/** What a client saw. */
export interface Visit {
  /** Common name of the server's certificate; undefined on a resumed session. */
  readonly certificate: string | undefined
  /** What the server knows of the connection. */
  readonly seen: TlsDigest
  readonly resumed: boolean
  readonly group: string | undefined
  readonly alpn: string | false | null
  /** To resume with. */
  readonly session: Buffer | undefined
}

/** A TLS listener whose app tells its clients what it knows of them. A leaked connection fails the test. */
export class TlsService implements AsyncDisposable {
  readonly service: ListeningService<TellingApp> = new ListeningService('tls', new TellingApp())
  readonly #logger: Logger | undefined

  private constructor(options: TlsListenerOptions, logger: Logger | undefined) {
    this.service.addTls('127.0.0.1:0', options)
    this.#logger = logger
  }

  static async start(options: TlsListenerOptions, logger?: Logger): Promise<TlsService> {
    const started = new TlsService(options, logger)
    const context = testContext()
    await started.service.start(
      logger === undefined ? context : { ...context, logger: started.#logger as Logger },
    )
    return started
  }

  get port(): number {
    return (this.service.endpoints()[0] as TcpAddress).port
  }

  /** Connects without verifying anything, and waits for the handshake. */
  async connect(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const client = connect({ host: '127.0.0.1', port: this.port, rejectUnauthorized: false, ...options })
    client.on('error', () => undefined)
    await once(client, 'secureConnect')
    return client
  }

  /** Connects, hears what the server knows, and leaves. Rejects if the server refuses. */
  async visit(servername: string, options: ConnectionOptions = {}): Promise<Visit> {
    const client = connect({
      host: '127.0.0.1',
      port: this.port,
      rejectUnauthorized: false,
      servername,
      ALPNProtocols: ['http/1.1'],
      ...options,
    })
    let session: Buffer | undefined
    client.on('session', (given: Buffer) => {
      session = given
    })
    const { promise, resolve, reject } = Promise.withResolvers<Visit>()
    let text = ''
    client.on('data', (data: Buffer) => {
      text += data.toString()
      if (!text.endsWith('\n')) return
      const name: unknown = client.getPeerCertificate().subject?.CN
      const visit = {
        certificate: typeof name === 'string' ? name : undefined,
        seen: JSON.parse(text) as TlsDigest,
        resumed: client.isSessionReused(),
        group: (client.getEphemeralKeyInfo() as { name?: string }).name,
        alpn: client.alpnProtocol,
      }
      // Node.js 24 tells of a session that came before these bytes only after them.
      setImmediate(() => resolve({ ...visit, session }))
    })
    client.on('error', reject)
    client.on('close', () => reject(new Error('closed')))
    try {
      return await promise
    } finally {
      client.destroy()
    }
  }

  /** The certificate that a name is served with, or `refused`. */
  async nameServed(servername: string, options?: ConnectionOptions): Promise<string | undefined> {
    try {
      return (await this.visit(servername, options)).certificate
    } catch {
      return 'refused'
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drained = this.service.drain()
    this.service.destroy()
    await drained
    expect(this.service.counters.openCount).toBe(0)
  }
}
