import type { ProxyError } from '@cirque/error'
import { ResponseHeader } from '@cirque/http'
import { expect, test } from 'vitest'
import { HttpServerApp, type ServerSession, WRITE_DONE, type WriteResult } from '../src/index.ts'
import { startApp, type TestServer } from './support/http-server.ts'
import { connectRaw, turn } from './support/raw-client.ts'

const UPGRADE = 'GET /t HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'

class Tunnel {
  readonly session: ServerSession
  data = ''
  ends = 0
  abort: string | undefined
  constructor(session: ServerSession) {
    this.session = session
    session.handler = this
  }
  accept(): void {
    this.session.writeHead(
      ResponseHeader.build(101, [
        ['Upgrade', 'echo'],
        ['Connection', 'x'],
      ]),
      0,
    )
    this.session.flush()
  }
  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    this.data += buffer.toString('latin1', start, end)
    return WRITE_DONE
  }
  onRequestEnd(): void {
    this.ends++
  }
  onDownstreamDrain(): void {}
  onDownstreamAbort(error: ProxyError): void {
    this.abort = error.code
  }
}

async function start(): Promise<{ server: TestServer; tunnels: Tunnel[] }> {
  const tunnels: Tunnel[] = []
  const app = new HttpServerApp({ onSession: (session) => tunnels.push(new Tunnel(session)) })
  return { server: await startApp(app), tunnels }
}

async function first(tunnels: Tunnel[]): Promise<Tunnel> {
  while (tunnels[0] === undefined) await turn()
  return tunnels[0]
}

for (const early of [true, false]) {
  test(`bytes before 101 are held and never interpreted, the empty body read ${early ? 'before' : 'after'} it`, async () => {
    const { server, tunnels } = await start()
    await using _ = server
    await using client = await connectRaw(server.port)
    client.send(`${UPGRADE}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n`)
    const tunnel = await first(tunnels)
    expect(tunnel.session.isUpgrade).toBe(true)
    if (early) tunnel.session.resumeRequestBody()
    for (let i = 0; i < 5; i++) await turn()
    expect(tunnel.data).toBe('')
    tunnel.accept()
    expect(tunnel.ends).toBe(early ? 1 : 0)
    tunnel.session.resumeRequestBody()
    while (!tunnel.data.endsWith('\r\n\r\n')) await turn()
    client.send('more')
    while (!tunnel.data.endsWith('more')) await turn()
    expect(tunnel.data).toBe('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nmore')
    expect(tunnels.length).toBe(1)
    expect(client.received).toBe(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n',
    )
    tunnel.session.destroy()
  })
}

test('each side of a tunnel ends by itself, and the data before the end comes first', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE)
  const tunnel = await first(tunnels)
  tunnel.accept()
  tunnel.session.resumeRequestBody()
  tunnel.session.pauseRequestBody()
  client.send('last words').end()
  for (let i = 0; i < 10; i++) await turn()
  expect(tunnel.ends).toBe(0)
  tunnel.session.resumeRequestBody()
  while (tunnel.ends === 0) await turn()
  expect(tunnel.data).toBe('last words')
  const answer = Buffer.from('answer')
  tunnel.session.writeBody(answer, 0, answer.length)
  tunnel.session.endResponse(null)
  expect(await client.rest()).toMatch(/answer$/)
  await server.drained()
  expect(tunnel.abort).toBeUndefined()
})

test('our side of a tunnel may end first', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE)
  const tunnel = await first(tunnels)
  tunnel.accept()
  tunnel.session.resumeRequestBody()
  tunnel.session.endResponse(null)
  await client.rest()
  client.send('still talking').end()
  await server.drained()
  expect(tunnel.data).toBe('still talking')
  expect(tunnel.abort).toBeUndefined()
})

test('a refused upgrade is a normal response; what follows is the next request only if the connection is kept', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE)
  const tunnel = await first(tunnels)
  tunnel.session.disableKeepAlive()
  tunnel.session.writeHead(ResponseHeader.build(403), 0)
  tunnel.session.endResponse(null)
  client.send('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')
  expect(await client.rest()).toMatch(/^HTTP\/1\.1 403 [\s\S]*Connection: close\r\n\r\n$/)
  expect(tunnels.length).toBe(1)
})

test('a request with a body is no upgrade', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE.replace('\r\n\r\n', '\r\nContent-Length: 3\r\n\r\nabc'))
  const tunnel = await first(tunnels)
  expect(tunnel.session.isUpgrade).toBe(false)
  tunnel.session.destroy()
})

test('a tunnel that its handler cuts is reset: nobody can take it for an orderly end', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE)
  const tunnel = await first(tunnels)
  tunnel.accept()
  await client.see('101 Switching')
  tunnel.session.destroy()
  await client.rest()
  expect([client.wasReset, client.ended]).toEqual([true, false])
})

test('a client that resets its tunnel aborts it', async () => {
  const { server, tunnels } = await start()
  await using _ = server
  await using client = await connectRaw(server.port)
  client.send(UPGRADE)
  const tunnel = await first(tunnels)
  tunnel.accept()
  tunnel.session.resumeRequestBody()
  await client.see('\r\n\r\n')
  client.reset()
  await server.drained()
  expect(tunnel.abort).toBe('CONNECTION_CLOSED')
})
