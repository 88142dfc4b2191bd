import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type HttpServerApp, type Service, type ServiceContext, serveHttp } from '@cirque/core'

/** A small HTTP server that can be switched off and on again on the same port. */
class DemoUpstream {
  readonly name: string
  address = ''
  on = false
  readonly #app: HttpServerApp
  readonly #sockets: Set<Socket> = new Set()
  #server: Server | undefined

  constructor(name: string) {
    this.name = name
    this.#app = serveHttp((session) => {
      session.respond(200, { headers: { 'Content-Type': 'text/plain' }, body: `hello from ${name}\n` })
    })
  }

  async switchOn(): Promise<void> {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
      this.#app.onConnection(socket)
    })
    const port = this.address === '' ? 0 : Number(this.address.split(':')[1])
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
    this.on = true
  }

  switchOff(): void {
    this.on = false
    this.#server?.close()
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** Upstreams to play with: the last of them goes off and on by itself, so that failover can be watched. */
export class DemoUpstreams implements Service {
  readonly name = 'demo upstreams'
  readonly #upstreams: readonly DemoUpstream[]
  readonly #switchMs: number
  readonly #say: (line: string) => void
  #timer: NodeJS.Timeout | undefined

  constructor(count: number, switchSeconds: number, say: (line: string) => void) {
    this.#upstreams = Array.from({ length: count }, (_, index) => new DemoUpstream(`upstream ${index + 1}`))
    this.#switchMs = switchSeconds * 1000
    this.#say = say
  }

  /** Where they are, once they have started. */
  get addresses(): string[] {
    return this.#upstreams.map(({ address }) => address)
  }

  /** The name of the upstream with this address. */
  nameOf(address: string): string {
    return this.#upstreams.find((upstream) => upstream.address === address)?.name ?? address
  }

  async start(_context: ServiceContext): Promise<void> {
    await Promise.all(this.#upstreams.map((upstream) => upstream.switchOn()))
    const last = this.#upstreams.at(-1)
    if (this.#switchMs === 0 || last === undefined) return
    this.#timer = setInterval(() => {
      if (last.on) {
        last.switchOff()
        this.#say(`-- ${last.name} (${last.address}) is switched off: watch the others take over`)
      } else {
        last.switchOn().then(
          () => this.#say(`-- ${last.name} (${last.address}) is on again: the health check brings it back`),
          (error: unknown) => this.#say(`-- ${last.name} does not come back: ${String(error)}`),
        )
      }
    }, this.#switchMs)
  }

  async drain(): Promise<void> {
    clearInterval(this.#timer)
  }

  destroy(): void {
    clearInterval(this.#timer)
    for (const upstream of this.#upstreams) upstream.switchOff()
  }
}
