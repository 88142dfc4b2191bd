import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { HttpPeer, type LogFields, Server, silentLogger } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { pino } from 'pino'
import { describe, expect, test, vi } from 'vitest'
import { start, until } from '../../proxy/test/support/observed-proxy.ts'
import { type AccessLogFormat, type AccessLogOptions, accessLog, fileDestination } from '../src/index.ts'
import { Lines } from './support/lines.ts'

/** The line that a request with these bytes leaves. */
async function lineOf(
  format: AccessLogFormat,
  bytes: string,
  options: Partial<AccessLogOptions> = {},
): Promise<string> {
  const destination = new Lines()
  const log = accessLog({ destination, format, ...options })
  await using proxy = await start({ observers: [log] })
  const socket = connect(proxy.port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(Buffer.from(bytes, 'latin1'))
  await until(() => destination.lines.length > 0)
  socket.destroy()
  return destination.lines[0] as string
}

function get(target: string, ...fields: string[]): string {
  return `GET ${target} HTTP/1.1\r\nHost: example.org\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`
}

describe('formats', () => {
  test('combined is what nginx writes', async () => {
    const line = await lineOf(
      'combined',
      get('/a?b=c', 'User-Agent: curl/8', 'Authorization: Basic dXNlcjpwYXNz'),
    )
    expect(line).toMatch(
      /^127\.0\.0\.1 - user \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET \/a\?b=c HTTP\/1\.1" 200 5 "-" "curl\/8"$/,
    )
  })

  test('Apache’s show no bytes as a dash', async () => {
    const head = get('/').replace('GET', 'HEAD')
    expect(await lineOf('apache-common', head)).toMatch(/"HEAD \/ HTTP\/1\.1" 200 -$/)
    expect(await lineOf('apache-combined', head)).toMatch(/"HEAD \/ HTTP\/1\.1" 200 - "-" "-"$/)
    expect(await lineOf('combined', head)).toMatch(/"HEAD \/ HTTP\/1\.1" 200 0 "-" "-"$/)
  })

  test('each request of a connection shows its own fields, repeated or not', async () => {
    const destination = new Lines()
    const format = '$request|$remote_user|$http_x|$http_referer'
    const log = accessLog({ destination, format })
    await using proxy = await start({ observers: [log] }, undefined, {
      requestFilter: (session) => {
        if (session.request.path === '/edited') session.request.insertHeader('X', 'by a "filter"')
      },
    })
    const socket = connect(proxy.port, '127.0.0.1')
    const same = ['X: "one"', 'Referer: /?token=1', 'Authorization: Basic dXNlcjpwYXNz']
    const heads = [get('/1', ...same), get('/2', ...same), get('/3', ...same)]
    heads.push(get('/edited', ...same), get('/4', ...same), get('/5', 'X: two'), get('/6', ...same))
    for (const [index, head] of heads.entries()) {
      socket.write(head)
      await until(() => destination.lines.length > index)
    }
    socket.destroy()
    const first = 'user|\\x22one\\x22|/?token=[redacted]'
    expect(destination.lines).toEqual([
      `GET /1 HTTP/1.1|${first}`,
      `GET /2 HTTP/1.1|${first}`,
      `GET /3 HTTP/1.1|${first}`,
      'GET /edited HTTP/1.1|user|by a \\x22filter\\x22|/?token=[redacted]',
      `GET /4 HTTP/1.1|${first}`,
      'GET /5 HTTP/1.1|-|two|-',
      `GET /6 HTTP/1.1|${first}`,
    ])
  })

  test('what limits said is shown', async () => {
    const destination = new Lines()
    const log = accessLog({ destination, format: '$status $limits' })
    await using proxy = await start({ observers: [log] }, undefined, {
      requestFilter: (session) => {
        if (session.request.path === '/free') return false
        session.noteLimit('all', true)
        if (session.noteLimit('per client', false)) return false
        session.respondError(429)
        return true
      },
    })
    const url = `http://127.0.0.1:${proxy.port}`
    for (const path of ['/free', '/']) await (await fetch(url + path)).text()
    await until(() => destination.lines.length === 2)
    expect(destination.lines).toEqual(['200 -', '429 all: allowed, per client: refused'])
  })

  test('templates take variables in both spellings, and $$ for the sign', async () => {
    const format =
      '$' +
      '{request_method}x $host $scheme $$5 $uri $args $arg_b $server_protocol $attempts $upstream_status'
    expect(await lineOf(format, get('/p?a=1&b=2'))).toBe(
      'GETx example.org http $5 /p a=1&b=2 2 HTTP/1.1 1 200',
    )
  })

  test('times are seconds with three decimals', async () => {
    const format = '$request_time $upstream_connect_time $upstream_header_time $upstream_response_time $msec'
    expect(await lineOf(format, get('/'))).toMatch(/^(\d+\.\d{3} ){4}\d{10}\.\d{3}$/)
  })

  test('JSON keeps numbers and absence, and mixes text', async () => {
    const fields = {
      status: '$status',
      took: '$request_time',
      agent: '$http_user_agent',
      where: '$host:$uri',
      x: '$http_x',
    }
    const json = await lineOf(fields, get('/a', 'X: \xe9"\x80'))
    expect(json).toMatch(/^[\x20-\x7e]+$/)
    expect(JSON.parse(json)).toEqual({
      status: 200,
      took: expect.any(Number),
      agent: null,
      where: 'example.org:/a',
      x: '\xe9"\x80',
    })
  })

  test.each([
    [
      'an unknown variable, with a suggestion',
      '$remote_adr',
      'Unknown variable "$remote_adr" (did you mean "remote_addr"?)',
    ],
    [
      'an unknown preset, with a suggestion',
      'combine',
      '"combine" is no preset and has no variable (did you mean "combined"?)',
    ],
    ['a sign without a name', 'a $ b $status', 'A "$" without a name'],
    ['an empty name', `$${'{}'}`, 'A "$" without a name'],
    ['a line break', '$status\n', 'line break'],
    ['a JSON field that is no template', { a: 1 }, 'must be templates'],
    ['an empty object', {}, 'needs a field'],
    ['an array', ['$status'], 'must be a string or an object'],
    ['a name that an object has', '$constructor', 'Unknown variable'],
  ])('%s is refused at construction', (_name, format, message) => {
    expect(() => accessLog({ destination: new Lines(), format: format as never })).toThrow(message)
  })
})

describe('what a client sends', () => {
  test('cannot forge a line, a column or a terminal sequence', async () => {
    const line = await lineOf('"$http_x" "$request"', get('/%0a?"\\', 'X: a"b\\c\x9b\xff'))
    expect(line).toBe(String.raw`"a\x22b\x5Cc\x9B\xFF" "GET /%0a?\x22\x5C HTTP/1.1"`)
  })

  test('is cut where it is long', async () => {
    const options = { valueCharactersMax: 16 }
    expect(await lineOf('$uri', get(`/${'a'.repeat(15)}`), options)).toBe(`/${'a'.repeat(15)}`)
    expect(await lineOf('$uri', get(`/${'a'.repeat(16)}`), options)).toBe(`/${'a'.repeat(15)}...`)
  })

  test('loses its secrets: in queries, however they are spelled, and in fields', async () => {
    const bytes = get(
      '/p?a=1&Token=s3cret&%74oken=s3cret&x=2;password=s3cret&token[]=s3cret&token=s3cret',
      'Authorization: Bearer s3cret',
      'Cookie: sid=s3cret',
      'Referer: https://example.org/?token=s3cret&ok=1#access_token=s3cret',
    )
    const format =
      '$request|$request_uri|$args|$arg_token|$http_authorization|$http_cookie|$http_referer|$arg_a'
    const line = await lineOf(format, bytes)
    expect(line).not.toContain('s3cret')
    expect(line).toContain('a=1&Token=[redacted]&%74oken=[redacted]&x=2;password=[redacted]')
    expect(line).toContain('|https://example.org/?token=[redacted]&ok=1#access_token=[redacted]|1')
  })

  test('is redacted by lists of your own, which replace ours', async () => {
    const redact = { query: ['Mine'], headers: ['X-Mine'] }
    const line = await lineOf(
      '$args $http_x_mine $http_cookie',
      get('/?mine=1&token=2', 'X-Mine: 3', 'Cookie: 4'),
      { redact },
    )
    expect(line).toBe('mine=[redacted]&token=2 [redacted] 4')
  })
})

describe('what is logged', () => {
  test('a client that leaves early has status 499, its address, and the reason', async () => {
    const destination = new Lines()
    const log = accessLog({
      destination,
      format: '$remote_addr $status $error_code $error_source $upstream_error',
    })
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    await using proxy = await start({ observers: [log] }, () => resolve())
    const socket = connect(proxy.port, '127.0.0.1')
    socket.write(get('/'))
    await reached
    socket.resetAndDestroy()
    await until(() => destination.lines.length === 1)
    expect(destination.lines[0]).toMatch(/^127\.0\.0\.1 499 \w+ downstream \w+$/)
  })

  test('attempts are separated by commas', async () => {
    const destination = new Lines()
    const log = accessLog({
      destination,
      format: '$upstream_addr|$upstream_status|$upstream_error|$attempts|$status',
    })
    let turn = 0
    const port = { value: 0 }
    await using proxy = await start({ observers: [log], retryBackoffMs: 0 }, undefined, {
      upstreamPeer: () => new HttpPeer(`127.0.0.1:${turn++ === 0 ? 1 : port.value}`),
      failToConnect: (_session, _peer, error) => {
        error.retry = 'allowed'
      },
    })
    port.value = proxy.originPort
    expect((await fetch(`http://127.0.0.1:${proxy.port}/`)).status).toBe(200)
    await until(() => destination.lines.length === 1)
    expect(destination.lines[0]).toBe(
      `127.0.0.1:1, 127.0.0.1:${proxy.originPort}|-, 200|CONNECT_REFUSED, -|2|200`,
    )
  })

  test('skip leaves out, the sample thins, and failures are kept', async () => {
    const destination = new Lines()
    const log = accessLog({
      destination,
      format: '$uri $status',
      sampleRate: 0,
      skip: (session) => session.request.path === '/health',
    })
    await using proxy = await start({ observers: [log] }, (request, response) => {
      response.statusCode = request.url === '/fails' || request.url === '/health' ? 503 : 200
      response.end()
    })
    for (const path of ['/well', '/fails', '/health'])
      await (await fetch(`http://127.0.0.1:${proxy.port}${path}`)).text()
    await proxy.idle()
    expect(destination.lines).toEqual(['/fails 503'])
    expect(log.stats()).toMatchObject({ writtenCount: 1, skippedCount: 2 })
  })

  test('a sample of a half is about a half', async () => {
    const destination = new Lines()
    const log = accessLog({ destination, format: '$status', sampleRate: 0.5 })
    await using proxy = await start({ observers: [log] })
    for (let round = 0; round < 200; round++) await (await fetch(`http://127.0.0.1:${proxy.port}/`)).text()
    await proxy.idle()
    // 200 tosses of a coin: outside of this range once in more than a billion runs.
    expect(destination.lines.length).toBeGreaterThan(50)
    expect(destination.lines.length).toBeLessThan(150)
  })

  test('pino gets fields', async () => {
    const written: string[] = []
    const stream = new Writable({
      write(chunk, _encoding, done) {
        written.push(String(chunk))
        done()
      },
    })
    const log = accessLog({ logger: pino({ base: null }, stream) })
    await using proxy = await start({ observers: [log] })
    await (await fetch(`http://127.0.0.1:${proxy.port}/a?token=x`)).text()
    await until(() => written.length === 1)
    expect(JSON.parse(written[0] as string)).toMatchObject({
      level: 30,
      method: 'GET',
      uri: '/a?token=[redacted]',
      status: 200,
      remote_addr: '127.0.0.1',
      referer: null,
    })
    expect(log.stats()).toEqual({ writtenCount: 1, droppedCount: 0, waitingBytes: 0, skippedCount: 0 })
  })
})

test('as a service it warns of drops, seldom, reopens on reload and closes on drain', async () => {
  const warnings: (LogFields | undefined)[] = []
  const destination = new Lines()
  const log = accessLog({ destination })
  log.start({
    logger: { ...silentLogger, warn: (_message, fields) => void warnings.push(fields) },
  } as Parameters<typeof log.start>[0])
  await using proxy = await start({ observers: [log] })
  destination.accepts = false
  for (let round = 0; round < 3; round++) await (await fetch(`http://127.0.0.1:${proxy.port}/`)).text()
  await proxy.idle()
  expect(warnings).toEqual([{ service: 'access log', droppedCount: 1 }])
  await log.reload()
  expect(destination.reopened).toBe(1)
  await log.drain()
  log.destroy()
  expect(destination.closeCount).toBe(1)
})

test.each([
  ['nowhere to write', {}],
  ['two places', { destination: new Lines(), logger: { info() {} } }],
  ['a destination without write', { destination: {} }],
  ['a logger without info', { logger: {} }],
  ['a logger and lines', { logger: { info() {} }, format: 'combined' }],
  ['a share above one', { destination: new Lines(), sampleRate: 2 }],
  ['a share that is none', { destination: new Lines(), sampleRate: Number.NaN }],
  ['a skip that is no function', { destination: new Lines(), skip: '/health' }],
  ['an alwaysLog that is no function', { destination: new Lines(), alwaysLog: true }],
  ['an empty name', { destination: new Lines(), name: '' }],
  ['nothing', undefined],
  ['an unknown option', { destination: new Lines(), sample: 1 }],
  ['values without length', { destination: new Lines(), valueCharactersMax: 0 }],
  ['a list of names that is text', { destination: new Lines(), redact: { query: 'token' } }],
])('%s is refused at construction', (_name, options) => {
  expect(() => accessLog(options as never)).toThrow()
})

test('a destination that takes nothing at the end is given up', async () => {
  const told: string[] = []
  const destination = Object.assign(new Lines(), {
    close: () => new Promise<void>(() => undefined),
    stats: () => ({ writtenCount: 0, droppedCount: 0, waitingBytes: 7 }),
    destroyed: 0,
    destroy: () => void destination.destroyed++,
  })
  const log = accessLog({ destination })
  log.start({
    logger: { ...silentLogger, error: (message) => void told.push(message) },
  } as Parameters<typeof log.start>[0])
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  try {
    let isDrained = false
    void log.drain().then(() => {
      isDrained = true
    })
    while (!isDrained) {
      vi.advanceTimersByTime(5_000)
      await new Promise((resolve) => setImmediate(resolve)) // the last requests have 20 ms
    }
    expect(told).toEqual(['The last lines of the access log are given up'])
    expect(destination.destroyed).toBe(1)
  } finally {
    vi.useRealTimers()
  }
})

test('requests that a fast shutdown cuts are in the log, and so is all that waited', async () => {
  const path = join(tmpdir(), `cirque-access-${process.pid}.log`)
  const log = accessLog({
    destination: fileDestination(path, { flushIntervalMs: 60_000 }),
    format: '$uri $status',
  })
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  const origin = createServer((request, response) => {
    if (request.url === '/done') response.end()
    else resolve()
  }).listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  const server = new Server({ argv: false, logger: silentLogger })
  const app = { upstreamPeer: () => new HttpPeer(`127.0.0.1:${port}`) }
  const proxy = httpProxyService(server.configuration, app, { observers: [log] })
  proxy.addTcp('127.0.0.1:0')
  server.addService(proxy).addDependency(server.addService(log))
  const running = server.run()
  await server.whenRunning()
  const url = `http://${proxy.endpoints()[0]?.text}`
  await (await fetch(`${url}/done`)).text()
  const cut = fetch(`${url}/cut`).catch(() => 'cut')
  await reached
  server.shutdown('fast')
  await running
  expect(await cut).toBe('cut')
  expect(readFileSync(path, 'utf8')).toBe('/done 200\n/cut 499\n')
  rmSync(path)
  origin.closeAllConnections()
  origin.close()
})

test('HTTP/2 requests are logged as others, also those that are given up', async () => {
  const destination = new Lines()
  const log = accessLog({ destination, format: '$remote_addr "$request" $status $scheme $host' })
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  await using proxy = await start({ observers: [log], server: { h2c: true } }, (request, response) => {
    if (request.url === '/a') response.end('hello')
    else resolve()
  })
  const client = connectHttp2(`http://127.0.0.1:${proxy.port}`)
  client.on('error', () => undefined)
  await once(client.request({ ':path': '/a', ':authority': 'example.org' }).resume(), 'close')
  client.request({ ':path': '/b', ':authority': 'example.org' }).on('error', () => undefined)
  await reached
  client.destroy()
  await until(() => destination.lines.length === 2)
  expect(destination.lines).toEqual([
    '127.0.0.1 "GET /a HTTP/2.0" 200 http example.org',
    '127.0.0.1 "GET /b HTTP/2.0" 499 http example.org',
  ])
})
