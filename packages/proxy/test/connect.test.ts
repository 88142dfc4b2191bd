import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { createConfiguration, type HttpModule, HttpPeer } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'
import { makeCertificate } from '../../core/test/support/certificates.ts'
import { ConnectTunnels } from '../src/connect-tunnels.ts'
import { CONNECT_ALLOW_MAX, HttpProxy, type ProxyHttp } from '../src/index.ts'
import { exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { deadAddress, startRawUpstream } from './support/upstream.ts'
import { until } from './support/waiting.ts'

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n'
const connect = (target: string, ...fields: string[]) =>
  `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`

/** A reverse proxy that would send every ordinary request to an address where nobody is. */
const app: ProxyHttp = { upstreamPeer: () => new HttpPeer('127.0.0.1:1') }

/** An upstream that says who it is, then echoes. */
const startEcho = () =>
  startRawUpstream((socket) => {
    socket.write('hello\n')
    socket.pipe(socket)
  })

describe('a tunnel', () => {
  test('carries bytes both ways, those that came with the head too, and each end by itself', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxy(app, { connect: { allow: [upstream.address] } })
    await using client = new RawClient(proxy.port)
    client.write(`${connect(upstream.address)}early`)
    expect(await client.take('early')).toBe(`${ESTABLISHED}hello\nearly`)
    const big = 'x'.repeat(3_000_000)
    client.write(big)
    await client.take(big)
    client.socket.end('last')
    await client.end()
    expect(client.received).toBe('last')
    await proxy.idle()
    await until(() => upstream.connections.open === 0, 'the upstream is still connected')
  })

  test('runs the hooks that make sense, and is logged once, with status 200', async () => {
    await using upstream = await startEcho()
    const calls: string[] = []
    const hook = (name: string) => () => void calls.push(name)
    const module: HttpModule = { requestHeaderFilter: hook('module') }
    class Module {}
    await using proxy = await startProxy(
      {
        newCtx: () => void calls.push('newCtx'),
        initDownstreamModules: (modules) =>
          void modules.add({ module: Module, init: () => module as Module }),
        earlyRequestFilter: hook('earlyRequestFilter'),
        requestFilter: hook('requestFilter'),
        proxyUpstreamFilter: hook('proxyUpstreamFilter'),
        upstreamPeer: () => {
          throw new Error('The client has chosen')
        },
        connectedToUpstream: hook('connectedToUpstream'),
        upstreamRequestFilter: hook('upstreamRequestFilter'),
        requestBodyFilter: hook('requestBodyFilter'),
        responseFilter: (_session, response) => {
          calls.push(`responseFilter ${response.status}`)
          response.insertHeader('X-Tunnel', 'yes')
          response.insertHeader('Content-Length', '5')
        },
        responseBodyFilter: hook('responseBodyFilter'),
        logging: (session, error) => {
          const { attempts } = session.record
          calls.push(`logging ${session.downstream.responseStatus} ${attempts[0]?.peer} ${error}`)
        },
      },
      { connect: { allow: [upstream.address] } },
    )
    await using client = new RawClient(proxy.port)
    client.write(connect(upstream.address))
    expect(await client.take('hello\n')).toBe(
      'HTTP/1.1 200 Connection Established\r\nX-Tunnel: yes\r\n\r\nhello\n',
    )
    client.socket.end()
    await client.end()
    await proxy.idle()
    expect(calls).toEqual([
      'newCtx',
      'earlyRequestFilter',
      'module',
      'requestFilter',
      'proxyUpstreamFilter',
      'connectedToUpstream',
      'responseFilter 101',
      `logging 200 ${upstream.address} undefined`,
    ])
  })

  test('carries TLS for a real client', async () => {
    const identity = makeCertificate({ dnsNames: ['localhost'], isAuthority: true })
    await using upstream = await TestUpstream.start((_request, response) => response.end('over TLS'), {
      tls: identity,
    })
    await using proxy = await startProxy(app, { connect: { allow: [upstream.address] } })
    // Node.js 24 would name the proxy in Host, which is not the target (RFC 9112 §3.2).
    const headers = { host: upstream.address }
    const outgoing = httpRequest({ port: proxy.port, method: 'CONNECT', path: upstream.address, headers })
    outgoing.end()
    const [response, socket] = (await once(outgoing, 'connect')) as [IncomingMessage, Socket]
    expect(response.statusCode).toBe(200)
    const secure = tlsConnect({ socket, servername: 'localhost', ca: identity.cert })
    secure.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    let text = ''
    for await (const chunk of secure.setEncoding('utf8')) text += chunk
    expect(text).toContain('over TLS')
  })

  test('that is silent for too long is closed', async () => {
    await using upstream = await startEcho()
    const peer = { tunnelIdleTimeoutMs: 50 }
    await using proxy = await startProxy(app, { connect: { allow: [upstream.address], peer } })
    await using client = new RawClient(proxy.port)
    client.write(connect(upstream.address))
    await client.take('hello\n')
    await client.end()
    expect(proxy.errors()).toEqual([expect.stringContaining('silent')])
  })

  test('begins only when the next proxy has opened it', async () => {
    await using upstream = await startEcho()
    await using next = await startProxy(app, { connect: { allow: [upstream.address] } })
    const peer = { proxy: { address: `127.0.0.1:${next.port}` } }
    const allow = [upstream.address, '127.0.0.1:9']
    await using proxy = await startProxy(app, { connect: { allow, peer } })
    await using client = new RawClient(proxy.port)
    client.write(connect(upstream.address))
    expect(await client.take('hello\n')).toBe(`${ESTABLISHED}hello\n`)
    // The next proxy refuses this one.
    expect(await exchange(proxy.port, connect('127.0.0.1:9'))).toMatch(/^HTTP\/1\.1 502 /)
  })
})

describe('no tunnel', () => {
  test('without a connection: 502, never a 200', async () => {
    const dead = await deadAddress()
    await using proxy = await startProxy(app, { connect: { allow: [dead] } })
    const reply = await exchange(proxy.port, `${connect(dead)}${get('/')}`)
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 502'])
  })

  test('to anyone who is not on the list: 403, and nobody is connected to', async () => {
    await using upstream = await startEcho()
    const { port } = upstream
    await using proxy = await startProxy(app, {
      connect: { allow: ['localhost:1', `other.example:${port}`] },
    })
    for (const target of [
      upstream.address,
      `localhost:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      `127.1:${port}`,
    ]) {
      const reply = await exchange(proxy.port, `${connect(target)}${get('/smuggled')}`)
      expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403'])
      expect(reply).toMatch(/connection: close/i)
    }
    expect(upstream.connections.accepted).toBe(0)
  })

  test('when a hook answers, such as 407; what follows is no request', async () => {
    await using upstream = await startEcho()
    await using proxy = await startProxy(
      {
        ...app,
        requestFilter(session) {
          if (session.request.get('proxy-authorization') === 'Basic me') return false
          session.respond(407, { headers: { 'Proxy-Authenticate': 'Basic' } })
          return true
        },
      },
      { connect: { allow: [upstream.address] } },
    )
    const refused = await exchange(proxy.port, `${connect(upstream.address)}${get('/smuggled')}`)
    expect(refused.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 407'])
    expect(upstream.connections.accepted).toBe(0)
    await using client = new RawClient(proxy.port)
    client.write(connect(upstream.address, 'Proxy-Authorization: Basic me'))
    await client.take('hello\n')
  })

  test.each(['Content-Length: 5', 'Transfer-Encoding: chunked'])('with a body: 400 (%s)', async (field) => {
    await using upstream = await startEcho()
    await using proxy = await startProxy(app, { connect: { allow: [upstream.address] } })
    const reply = await exchange(proxy.port, `${connect(upstream.address, field)}5\r\n`)
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400'])
    expect(upstream.connections.accepted).toBe(0)
  })
})

describe('the list', () => {
  const allows = (allow: string[], target: string): boolean => {
    try {
      return new ConnectTunnels({ allow }).peerFor(target).address?.text !== undefined
    } catch (error) {
      expect(error).toMatchObject({ code: 'TUNNEL_REFUSED', source: 'downstream', status: 403 })
      return false
    }
  }

  test.each([
    ['a.example:443', ['a.example:443', 'A.EXAMPLE:443']],
    ['*.a.example:443', ['b.a.example:443', 'c.B.a.example:443']],
    ['127.0.0.1:80', ['127.0.0.1:80']],
    ['[0:0::1]:80', ['[::1]:80', '[0:0:0:0:0:0:0:1]:80']],
  ])('%s allows %j', (entry, targets) => {
    for (const target of targets) expect(allows([entry], target), target).toBe(true)
  })

  test.each([
    ['a.example:443', ['a.example:80', 'b.a.example:443', 'a.example', 'xa.example:443', 'a.example.:443']],
    [
      '*.a.example:443',
      ['a.example:443', 'xa.example:443', '.a.example:443', 'b.a.example:444', 'b..a.example:443'],
    ],
    ['*.a.example:443', ['a.example:443@b.a.example:443', 'evil/.a.example:443', 'b.a.example.evil:443']],
    [
      '127.0.0.1:80',
      ['127.1:80', '2130706433:80', '0x7f.0.0.1:80', '127.0.0.1.:80', '[::ffff:127.0.0.1]:80'],
    ],
  ])('%s does not allow %j', (entry, targets) => {
    for (const target of targets) {
      expect(allows([entry], target), target).toBe(false)
    }
  })

  test.each([
    [{}, TypeError, /"allow"/],
    [{ allow: [] }, RangeError, /1 to 10000 entries, received 0/],
    [{ allow: Array.from({ length: CONNECT_ALLOW_MAX + 1 }, () => 'a:1') }, RangeError, /received 10001/],
    [{ allow: ['*:443'] }, TypeError, /"\*:443"/],
    [{ allow: ['*'] }, TypeError, /"\*"/],
    [{ allow: ['a.example'] }, TypeError, /the port is missing/],
    [{ allow: ['a.example:0'] }, TypeError, /port 0/],
    [{ allow: ['unix:/x'] }, TypeError, /unix:\/x/],
    [{ allow: ['*.0.0.1:80'] }, TypeError, /"0\.0\.1:80"/],
    [{ allow: ['*.127.0.0.1:80'] }, TypeError, /Below an IP address/],
    [{ allow: [7] }, TypeError, /7/],
    [{ allow: ['a:1'], deny: [] }, TypeError, /Unknown connect option "deny"/],
    [{ allow: ['a:1'], peer: { tls: true } }, TypeError, /"tls" is not for tunnels/],
    [{ allow: ['a:1'], peer: { readTimeoutMs: -1 } }, RangeError, /readTimeoutMs/],
  ])('is refused when wrong, %#', (options, kind, says) => {
    const make = () => new HttpProxy(createConfiguration(), app, { connect: options as never })
    expect(make).toThrow(kind)
    expect(make).toThrow(says)
  })
})
