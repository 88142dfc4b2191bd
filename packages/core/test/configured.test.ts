import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createConfiguration,
  healthService,
  httpServerOptions,
  ListeningService,
  type ListeningServiceOptions,
  Server,
  serveHttp,
  silentLogger,
} from '../src/index.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-configured-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** A server with a configuration file; shut down at the end of its scope. */
class Configured implements AsyncDisposable {
  readonly server: Server
  #running: Promise<void> | undefined

  constructor(text: string) {
    const file = join(folder, 'proxy.yaml')
    writeFileSync(file, text)
    this.server = new Server({ argv: ['-c', file], logger: silentLogger })
  }

  add(options?: ListeningServiceOptions): ListeningService {
    const service = new ListeningService('web', new Greeter(), options)
    this.server.addService(service)
    return service
  }

  async run(): Promise<void> {
    const running = this.server.run()
    this.#running = running.catch(() => undefined)
    await this.server.whenRunning().catch(() => running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.shutdown('fast')
    await this.#running
  }
}

class Greeter {
  onConnection(socket: Socket): void {
    socket.write('hello')
  }
  startDraining(): void {}
}

/** True if the connection is let in. */
async function isServed(service: ListeningService): Promise<boolean> {
  const socket = createConnection(portOf(service), '127.0.0.1').on('error', () => undefined)
  return await new Promise((resolve) => {
    socket.once('data', () => resolve(true)).once('close', () => resolve(false))
  })
}

function portOf(service: ListeningService): number {
  const [address] = service.endpoints()
  return address?.kind === 'tcp' ? address.port : 0
}

describe('what the configuration says where options say nothing', () => {
  test('caps of connections, for services and listeners that were added before or after', async () => {
    await using one = new Configured('connections_max: 3\nconnections_per_ip_max: 2')
    const byFile = one.add().addTcp('127.0.0.1:0')
    const byCode = one.add({ connectionsMax: 7, connectionsPerIpMax: 0 }).addTcp('127.0.0.1:0')
    const health = healthService().addTcp('127.0.0.1:0')
    one.server.addService(health)
    await one.run()
    expect([byFile, byCode, health].map((service) => service.connectionsMax)).toEqual([3, 7, 20_000])
    const served = async (service: ListeningService) => [
      await isServed(service),
      await isServed(service),
      await isServed(service),
    ]
    expect(await served(byFile)).toEqual([true, true, false])
    expect(await served(byCode)).toEqual([true, true, true])
    expect(() => byFile.configure(createConfiguration())).toThrow('has started and takes no configuration')
  })

  test.skipIf(process.platform !== 'linux')('reuse_port: two servers share an address', async () => {
    await using one = new Configured('listener_reuse_port: true')
    await using two = new Configured('listener_reuse_port: true')
    await using other = new Configured('listener_reuse_port: true')
    const first = new ListeningService('web', new Greeter()).addTcp('127.0.0.1:0')
    one.server.addService(first) // with its listener
    await one.run()
    const address = `127.0.0.1:${portOf(first)}`
    two.add().addTcp(address) // without
    await two.run()
    other.add().addTcp(address, { reusePort: false, bindAttemptsMax: 1 })
    await expect(other.run()).rejects.toThrow(/EADDRINUSE|in use/)
    // A Unix socket has no such thing, and is not broken by it.
    const unix = new Configured('listener_reuse_port: true\nlistener_keep_alive_seconds: 60')
    unix.add().addUnix(join(folder, 'socket'))
    await unix.run()
    await unix[Symbol.asyncDispose]()
  })

  test('httpServerOptions: in milliseconds, and none that is not given', () => {
    expect(httpServerOptions({})).toEqual({})
    expect(httpServerOptions({ httpHeadTimeoutSeconds: 0.0014, http2: false, httpServerName: '' })).toEqual({
      headTimeoutMs: 1,
      http2: false,
      serverName: '',
    })
    // The defaults of the file are those of the options.
    const answer = () => undefined
    expect(serveHttp(answer, httpServerOptions(createConfiguration())).options).toEqual(
      serveHttp(answer).options,
    )
  })

  test.each(['a\r\nX: y', ' a', 'ä', 'x'.repeat(129)])('a server name of %j is refused', (serverName) => {
    expect(() => serveHttp(() => undefined, { serverName })).toThrow(/"serverName" must be printable ASCII/)
  })
})

test('the guide names every option of HTTP servers, connectors and services that the file has not', () => {
  const folder = join(import.meta.dirname, '..')
  const page = readFileSync(join(folder, '../../docs/user-guide/configuration.md'), 'utf8')
  const section = page.slice(page.indexOf('## What the code decides'), page.indexOf('## Your own settings'))
  const sources: [string, string, readonly string[]][] = [
    [
      'downstream/http-server-options.ts',
      'HttpServerOptions',
      Object.keys(httpServerOptions(createConfiguration())),
    ],
    [
      'upstream/connector-options.ts',
      'ConnectorOptions',
      [
        'bindToIpv4',
        'bindToIpv6',
        'caFile',
        'connectionAgeMaxMs',
        'debugSslKeylog',
        'keepalivePoolSize',
        'keepalivePoolSizePerPeer',
        'requestsPerConnectionMax',
      ],
    ],
    [
      'listening/listening-service-options.ts',
      'ListeningServiceOptions',
      ['connectionsMax', 'connectionsPerIpMax'],
    ],
    ['listening/listener-options.ts', 'ListenerSocketOptions', ['backlog']],
    [
      'listening/listener-options.ts',
      'TcpListenerOptions',
      ['keepAlive', 'keepAliveInitialDelayMs', 'reusePort'],
    ],
  ]
  for (const [file, owner, inFile] of sources) {
    const source = readFileSync(join(folder, 'src', file), 'utf8')
    const body =
      new RegExp(`^export interface ${owner}[^{]*\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(source)?.[1] ?? ''
    const options = [...body.matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name = '']) => name)
    expect(options.length, owner).toBeGreaterThan(0)
    expect(options.filter((name) => !inFile.includes(name) && !section.includes(`\`${name}\``))).toEqual([])
    expect(inFile.filter((name) => !options.includes(name))).toEqual([])
  }
})
