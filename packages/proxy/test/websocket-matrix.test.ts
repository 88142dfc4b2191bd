import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import type { HttpProxyServiceOptions, ProxyHttp } from '../src/index.ts'
import { type RunningProxy, startProxy } from './support/proxy.ts'
import { until } from './support/waiting.ts'
import { type Opening, startWebSocketOrigin, TunnelClient } from './support/websocket.ts'

interface Scene extends AsyncDisposable {
  readonly proxy: RunningProxy<undefined>
  readonly client: TunnelClient
  /** Handshakes that reached the origin. */
  readonly openings: Opening[]
  readonly logged: (string | undefined)[]
}

interface SceneOptions {
  readonly onOpening?: (opening: Opening) => void
  readonly app?: Partial<ProxyHttp>
  readonly peer?: HttpPeerOptions
  readonly proxy?: HttpProxyServiceOptions
}

const echo = (opening: Opening) => {
  const stream = opening.accept()
  stream.pipe(stream)
}

describe.each([
  [1, 1],
  [1, 2],
  [2, 1],
  [2, 2],
] as const)('a WebSocket from HTTP/%i to HTTP/%i', (down, up) => {
  async function start({ onOpening = echo, app, peer, proxy: options }: SceneOptions = {}): Promise<Scene> {
    const stack = new AsyncDisposableStack()
    const openings: Opening[] = []
    const logged: (string | undefined)[] = []
    const origin = stack.use(
      await startWebSocketOrigin(up, (opening) => {
        openings.push(opening)
        onOpening(opening)
      }),
    )
    const proxy = stack.use(
      await startProxy<undefined>(
        {
          upstreamPeer: () => new HttpPeer(origin.address, { httpVersion: up, ...peer }),
          logging: (_session, error) => void logged.push(error?.code),
          ...app,
        },
        { ...options, server: { h2c: true, ...options?.server } },
      ),
    )
    const client = stack.use(new TunnelClient(down, proxy.port))
    return { proxy, client, openings, logged, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  test('bytes that came before the answer wait for it, then pass first', async () => {
    await using scene = await start({ onOpening: () => undefined })
    const tunnel = await scene.client.open('/', 'early ')
    await until(() => scene.openings.length === 1, 'no handshake')
    await new Promise((resolve) => setTimeout(resolve, 30))
    const [opening] = scene.openings
    expect(opening?.received()).toBe('')
    if (opening !== undefined) echo(opening)
    expect(await tunnel.answer()).toBe('open')
    tunnel.write('late')
    await tunnel.take('early late')
  })

  test('a refusal is an answer like any other, and early bytes go nowhere', async () => {
    await using scene = await start({ onOpening: (opening) => opening.refuse(403, 'not you') })
    const tunnel = await scene.client.open('/', 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(await tunnel.answer()).toBe(403)
    await tunnel.take('not you')
    tunnel.end()
    await scene.proxy.idle()
    expect(scene.openings).toHaveLength(1)
    expect(scene.openings[0]?.received()).toBe('')
    expect(scene.proxy.proxy.stats().requests).toBe(1)
  })

  test('hooks decide about it, as about any request', async () => {
    const seen: string[] = []
    await using scene = await start({
      app: {
        requestFilter({ request }) {
          seen.push(`${request.method} ${request.path} ${request.get('upgrade')}`)
          return false
        },
        proxyUpstreamFilter(session) {
          if (session.request.path !== '/secret') return true
          session.respondError(401)
          return false
        },
      },
    })
    const refused = await scene.client.open('/secret', 'early')
    expect(await refused.answer()).toBe(401)
    expect(scene.openings).toEqual([])
    const tunnel = await scene.client.open('/free')
    expect(await tunnel.answer()).toBe('open')
    tunnel.write('hello')
    await tunnel.take('hello')
    expect(seen).toEqual(['GET /secret websocket', 'GET /free websocket'])
  })

  test('limits of bodies are none of a tunnel’s', async () => {
    await using scene = await start({
      proxy: { server: { requestBodyBytesMax: 10, bodyTimeoutMs: 50 } },
      peer: { readTimeoutMs: 50 },
    })
    const tunnel = await scene.client.open()
    expect(await tunnel.answer()).toBe('open')
    tunnel.write('more than ten bytes')
    await tunnel.take('more than ten bytes')
    await new Promise((resolve) => setTimeout(resolve, 150))
    tunnel.write('and still there')
    await tunnel.take('and still there')
    expect(tunnel.over).toBe(false)
  })

  test('silence ends it after its own idle timeout, and talk does not', async () => {
    await using scene = await start({ peer: { tunnelIdleTimeoutMs: 150 } })
    const tunnel = await scene.client.open()
    expect(await tunnel.answer()).toBe('open')
    for (let i = 0; i < 6; i++) {
      tunnel.write('x')
      await tunnel.take('x')
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
    expect(tunnel.over).toBe(false)
    await until(() => tunnel.over, 'it lives on')
    await scene.proxy.idle()
    expect(scene.logged).toEqual(['READ_TIMEOUT'])
  })

  test.each(['client', 'origin'] as const)('an end by the %s is passed on, after all bytes', async (who) => {
    let ended = false
    await using scene = await start({
      onOpening(opening) {
        const stream = opening.accept()
        stream.on('end', () => {
          ended = true
          if (!stream.writableEnded) stream.end('bye')
        })
        stream.resume()
        if (who === 'origin') stream.end('bye')
      },
    })
    const tunnel = await scene.client.open()
    expect(await tunnel.answer()).toBe('open')
    if (who === 'client') {
      tunnel.write('last words')
      tunnel.end()
    }
    await tunnel.take('bye')
    await until(() => tunnel.over, 'the end does not come')
    tunnel.end()
    await until(() => ended, 'the origin does not hear the end')
    await scene.proxy.idle()
    expect(scene.logged).toEqual([undefined])
  })

  test('a drain waits for it and takes no other, and the deadline cuts it', async () => {
    await using scene = await start()
    const { service } = scene.proxy
    const tunnel = await scene.client.open()
    expect(await tunnel.answer()).toBe('open')
    let drained = false
    const drain = service.drain().then(() => {
      drained = true
    })
    // It goes on while there is time.
    for (const word of ['one', 'two']) {
      tunnel.write(word)
      await tunnel.take(word)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect([drained, tunnel.over]).toEqual([false, false])
    await expect(
      new TunnelClient(1, scene.proxy.port).open().then((other) => other.answer()),
    ).rejects.toThrow()
    service.destroy()
    await drain
    await until(() => tunnel.over, 'it is not cut')
    await scene.proxy.idle()
    expect(scene.logged).toHaveLength(1)
  })

  test('a drain ends with the last of them', async () => {
    await using scene = await start()
    const tunnel = await scene.client.open()
    expect(await tunnel.answer()).toBe('open')
    const drain = scene.proxy.service.drain()
    tunnel.write('bye')
    await tunnel.take('bye')
    tunnel.end()
    await drain
    expect(scene.logged).toEqual([undefined])
  })
})
