import { HttpPeer } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { Forwarding } from '../src/forwarding.ts'
import { type ForwardingOptions, HttpProxy, type ProxyHttp } from '../src/index.ts'
import { ask, exchange, get, RawClient } from './support/client.ts'
import { startProxy } from './support/proxy.ts'
import { startScript, startUpstream } from './support/upstream.ts'

/** The head that the upstream gets for `bytes`: its request line, and values by lowercase name. */
async function forwarded(bytes: string, forwarding?: ForwardingOptions, app: Partial<ProxyHttp> = {}) {
  await using upstream = await startUpstream((_request, response) => response.end())
  await using proxy = await startProxy(
    { upstreamPeer: () => new HttpPeer(upstream.address), ...app },
    forwarding === undefined ? {} : { forwarding },
  )
  await exchange(proxy.port, bytes.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  const [request] = upstream.requests
  if (request === undefined) throw new Error('Nothing arrived')
  return {
    line: `${request.method} ${request.url} ${request.httpVersion}`,
    headers: request.headers,
    raw: request.rawHeaders,
    address: upstream.address,
  }
}

describe('RFC 9110 §10.1.1: Expect', () => {
  test.each([
    ['without a body', get('/', 'Expect: 100-continue'), undefined],
    [
      'of HTTP/1.0',
      'PUT / HTTP/1.0\r\nHost: a\r\nExpect: y 100-continue\r\nContent-Length: 1\r\n\r\nx',
      undefined,
    ],
    [
      'with a body',
      'PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx',
      '100-continue',
    ],
  ])('%s', async (_name, bytes, expected) => {
    expect((await forwarded(bytes)).headers.expect).toBe(expected)
  })
})

describe('RFC 9110 §7.6.1: fields of one connection', () => {
  test('are removed from requests, those that Connection lists too', async () => {
    const { headers } = await forwarded(
      get(
        '/',
        'Connection: X-Private, keep-alive',
        'Keep-Alive: timeout=5',
        'Proxy-Connection: keep-alive',
        'X-Private: 1',
        'X-Public: 2',
        'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
        'Upgrade: something',
      ),
    )
    expect(Object.keys(headers).sort()).toEqual(['host', 'x-public'])
  })

  test('are removed before upstreamRequestFilter sees them', async () => {
    let seen = true
    await forwarded(get('/', 'Connection: X-Private', 'X-Private: 1'), undefined, {
      upstreamRequestFilter(session, request) {
        seen = request.has('x-private') || request.has('connection')
        expect(session.request.has('x-private')).toBe(true)
      },
    })
    expect(seen).toBe(false)
  })

  test('of TE only "trailers" is passed on', async () => {
    const te = async (value: string) => (await forwarded(get('/', `TE: ${value}`))).headers['te']
    expect(await te('trailers')).toBe('trailers')
    expect(await te('gzip, trailers, deflate')).toBe('trailers')
    expect(await te('gzip')).toBeUndefined()
  })

  test('RFC 9110 §10.1.4: TE that is passed on stands in Connection too', async () => {
    const { headers } = await forwarded(get('/', 'TE: trailers', 'Connection: TE'))
    expect(headers['connection']).toBe('TE')
  })

  test('are removed from responses, before upstreamResponseFilter sees them', async () => {
    await using upstream = await startScript(
      'HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nKeep-Alive: timeout=50\r\nX-Private: 1\r\nX-Public: 2\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n',
    )
    let seen = true
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamResponseFilter(_session, response) {
        seen = response.has('x-private') || response.has('connection')
      },
    })
    const { headers } = await ask(proxy.port, get())
    expect(Object.keys(headers).sort()).toEqual(['content-length', 'date', 'x-public'])
    expect(seen).toBe(false)
  })

  test('cannot be put back by a filter', async () => {
    await using upstream = await startUpstream((_request, response) => response.end('hello'))
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(upstream.address),
      upstreamRequestFilter(_session, request) {
        request.insertHeader('Transfer-Encoding', 'chunked')
        request.insertHeader('Connection', 'close')
        request.insertHeader('Content-Length', '70')
      },
      responseFilter(_session, response) {
        response.insertHeader('Transfer-Encoding', 'chunked')
        response.insertHeader('Connection', 'close')
        response.insertHeader('Content-Length', '70')
      },
    })
    await using client = new RawClient(proxy.port)
    for (let i = 0; i < 2; i++) {
      const { body, headers } = await client.write(get()).response()
      expect([body, headers['connection'], headers['transfer-encoding'], headers['content-length']]).toEqual([
        'hello',
        undefined,
        undefined,
        '5',
      ])
    }
    expect(upstream.requests[0]?.headers['transfer-encoding']).toBeUndefined()
    expect(upstream.connections.accepted).toBe(1)
  })
})

describe('RFC 9112 §3.2: the target and Host', () => {
  test.each([
    ['GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /b?c 1.1', 'a'],
    ['GET http://a HTTP/1.1\r\nHost: a\r\n\r\n', 'GET / 1.1', 'a'],
    ['GET http://a?c HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /?c 1.1', 'a'],
    ['GET HTTP://a:81/b HTTP/1.1\r\nHost: a:81\r\n\r\n', 'GET /b 1.1', 'a:81'],
    ['OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n', 'OPTIONS * 1.1', 'a'],
    ['OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n', 'OPTIONS * 1.1', 'a'],
    ['OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n', 'OPTIONS / 1.1', 'a'],
    ['GET http://other.example/b HTTP/1.0\r\n\r\n', 'GET /b 1.1', 'other.example'],
    ['GET /%2e%2E//./b HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /%2e%2E//./b 1.1', 'a'],
  ])('%j', async (bytes, line, host) => {
    const request = await forwarded(bytes)
    expect([request.line, request.headers.host]).toEqual([line, host])
  })

  test('an HTTP/1.0 request without a Host gets the peer’s', async () => {
    const { headers, address } = await forwarded('GET / HTTP/1.0\r\n\r\n')
    expect(headers.host).toBe(address)
  })

  test('hooks see the host that the upstream gets of an HTTP/1.0 target', async () => {
    const seen: (string | undefined)[] = []
    const { headers } = await forwarded(
      'GET http://b.example/x HTTP/1.0\r\n\r\n',
      { xForwarded: true },
      { requestFilter: (session) => void seen.push(session.request.host) },
    )
    expect([...seen, headers.host, headers['x-forwarded-host']]).toEqual(Array(3).fill('b.example'))
  })

  test('names and order of fields stay as the client sent them', async () => {
    const { raw } = await forwarded('GET / HTTP/1.1\r\nX-b: 1\r\nHOST: a\r\nx-A: 2\r\nX-b: 3\r\n\r\n')
    expect(raw.slice(0, 8)).toEqual(['X-b', '1', 'HOST', 'a', 'x-A', '2', 'X-b', '3'])
  })
})

describe('CONNECT', () => {
  test('is refused with 405 and the connection closes: no tunnel, and no phase', async () => {
    const calls: string[] = []
    await using proxy = await startProxy({
      newCtx: () => calls.push('newCtx'),
      upstreamPeer: () => new HttpPeer('127.0.0.1:1'),
    } as ProxyHttp<number>)
    const reply = await exchange(
      proxy.port,
      `CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n${get('/smuggled')}`,
    )
    expect(reply.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 405'])
    expect(reply).toMatch(/connection: close/i)
    expect(calls).toEqual([])
  })
})

const SPOOFED = [
  'X-Forwarded-For: 1.1.1.1',
  'x-forwarded-for: 2.2.2.2',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: evil',
  'X-Forwarded-Port: 443',
  'X-Forwarded-Prefix: /evil',
  'X-Real-IP: 1.1.1.1',
  'Forwarded: for=1.1.1.1;proto=https;host=evil',
  'Via: 1.1 earlier',
  'X-Request-Id: given-id',
]
const claims = (headers: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(headers).filter(([name]) => /forwarded|real-ip|via|request-id/.test(name)),
  )

describe('forwarding fields', () => {
  test('are left alone without the option', async () => {
    const { headers } = await forwarded(get('/', ...SPOOFED))
    expect(headers['x-forwarded-for']).toBe('1.1.1.1, 2.2.2.2')
    expect(headers.via).toBe('1.1 earlier')
  })

  test('of a client that nobody trusts are overwritten, in whatever field', async () => {
    const { headers } = await forwarded(get('/', ...SPOOFED), {
      xForwarded: true,
      requestId: 'X-Request-Id',
      via: 'cirque',
    })
    const { 'x-request-id': id, ...others } = claims(headers)
    expect(others).toEqual({
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'a',
      via: '1.1 earlier, 1.1 cirque',
    })
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('of a client that nobody trusts are removed with underscores too, which CGI takes for hyphens', async () => {
    const { raw } = await forwarded(
      get('/', 'X_Forwarded_For: 1.1.1.1', 'x-real_ip: 1.1.1.1', 'X_Forwarded-Anything: 1', 'X_Other: 1'),
      { xForwarded: true },
    )
    const names = raw.filter((_, i) => i % 2 === 0)
    expect(names).toEqual(['Host', 'X_Other', 'X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host'])
  })

  test('of a trusted proxy too are removed with underscores, and a Forwarded with a quote left open', async () => {
    const { headers } = await forwarded(
      get('/', 'X_Forwarded_For: 1.1.1.1', 'X-Forwarded-For: 2.2.2.2', 'Forwarded: for="2.2.2.2'),
      { xForwarded: true, forwarded: true, trustedProxies: ['127.0.0.1'] },
    )
    expect(claims(headers)).toMatchObject({
      'x-forwarded-for': '2.2.2.2, 127.0.0.1',
      forwarded: 'for=127.0.0.1;proto=http;host="a"',
    })
    expect(headers).not.toHaveProperty('x_forwarded_for')
  })

  test('Forwarded alone removes the X- family too', async () => {
    const { headers } = await forwarded(get('/', ...SPOOFED.slice(0, 8)), { forwarded: true })
    expect(claims(headers)).toEqual({ forwarded: 'for=127.0.0.1;proto=http;host="a"' })
  })

  test('of a trusted proxy are appended to', async () => {
    const { headers } = await forwarded(get('/', ...SPOOFED), {
      xForwarded: true,
      forwarded: true,
      requestId: 'X-Request-Id',
      trustedProxies: ['10.0.0.0/8', '127.0.0.0/8', '::1'],
    })
    expect(claims(headers)).toEqual({
      'x-forwarded-for': '1.1.1.1, 2.2.2.2, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'evil',
      'x-forwarded-port': '443',
      'x-forwarded-prefix': '/evil',
      'x-real-ip': '1.1.1.1',
      forwarded: 'for=1.1.1.1;proto=https;host=evil, for=127.0.0.1;proto=http;host="a"',
      via: '1.1 earlier',
      'x-request-id': 'given-id',
    })
  })

  test.each(['', 'a b', 'x'.repeat(129), 'a\u00e9'])(
    'a trusted request id %j that is none is replaced',
    async (id) => {
      const { headers } = await forwarded(get('/', `X-Request-Id: ${id}`), {
        requestId: 'X-Request-Id',
        trustedProxies: ['127.0.0.1'],
      })
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
    },
  )

  test('several trusted request ids are none', async () => {
    const { headers } = await forwarded(get('/', 'X-Request-Id: a', 'X-Request-Id: b'), {
      requestId: 'X-Request-Id',
      trustedProxies: ['127.0.0.1'],
    })
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('a chain that grows without end starts anew', async () => {
    const chain = Array.from({ length: 300 }, () => '1.1.1.1').join(', ')
    const options = { xForwarded: true, trustedProxies: ['127.0.0.1'] }
    const { headers } = await forwarded(get('/', `X-Forwarded-For: ${chain}`), options)
    expect(headers['x-forwarded-for']).toBe('127.0.0.1')
  })

  test('Via tells the client’s version', async () => {
    const { headers } = await forwarded('GET / HTTP/1.0\r\nHost: a\r\n\r\n', { via: 'cirque' })
    expect(headers.via).toBe('1.0 cirque')
  })

  test('cannot be removed by listing them in Connection', async () => {
    await using upstream = await startUpstream((_request, response) => response.end())
    await using proxy = await startProxy(
      { upstreamPeer: () => new HttpPeer(upstream.address) },
      { forwarding: { xForwarded: true } },
    )
    const reply = await exchange(proxy.port, get('/', 'Connection: close, X-Forwarded-For'))
    if (upstream.requests.length > 0)
      expect(upstream.requests[0]?.headers['x-forwarded-for']).toBe('127.0.0.1')
    else expect(reply).toMatch(/^HTTP\/1\.1 400 /)
  })
})

describe('who is trusted', () => {
  const forwarding = new Forwarding({ trustedProxies: ['10.0.0.0/8', '192.168.1.1', '2001:db8::/32'] })
  test.each([
    ['10.1.2.3', true],
    ['11.1.2.3', false],
    ['192.168.1.1', true],
    ['192.168.1.2', false],
    ['::ffff:10.1.2.3', true],
    ['::ffff:11.1.2.3', false],
    ['2001:db8::1', true],
    ['2001:db9::1', false],
    ['2001:db8::1%eth0', true],
    ['fe80::1%eth0', false],
    ['nonsense', false],
    [undefined, false],
  ])('%s: %s', (address, trusted) => {
    expect(forwarding.trusts(address)).toBe(trusted)
  })

  test('nobody by default', () => {
    expect(new Forwarding({}).trusts('127.0.0.1')).toBe(false)
  })

  test.each([
    [['1.1.1.1, 9.9.9.9'], '9.9.9.9'],
    [['9.9.9.9, 127.0.0.2'], '9.9.9.9'],
    [['6.6.6.6, 9.9.9.9', '127.0.0.2'], '9.9.9.9'],
    [['9.9.9.9, nonsense'], '127.0.0.1'],
    [['127.0.0.9, 127.0.0.2'], '127.0.0.9'],
    [[], '127.0.0.1'],
  ])('the client behind %j is %s', async (fields, client) => {
    let seen: string | undefined
    const trusting = new Forwarding({ trustedProxies: ['127.0.0.0/8'] })
    await forwarded(get('/', ...fields.map((value) => `X-Forwarded-For: ${value}`)), undefined, {
      earlyRequestFilter(session) {
        seen = trusting.clientAddress(session)
      },
    })
    expect(seen).toBe(client)
  })

  test.each([
    { via: 'a b' },
    { via: '' },
    { requestId: 'X Id' },
    { trustedProxies: ['10.0.0.0/33'] },
    { trustedProxies: ['10.0.0/8'] },
    { trustedProxies: ['10.0.0.0/8/8'] },
    { trustedProxies: ['localhost'] },
    { trustProxies: [] },
  ])('%j is refused', (forwarding) => {
    expect(
      () =>
        new HttpProxy({ maxRetries: 1 } as never, { upstreamPeer: () => new HttpPeer('a:1') }, {
          forwarding,
        } as never),
    ).toThrow(TypeError)
  })
})
