import { once } from 'node:events'
import http2 from 'node:http2'
import { connect } from 'node:tls'
import { describe, expect, test } from 'vitest'
import {
  type HttpServerOptions,
  ListeningService,
  serveHttp,
  type TcpAddress,
  type TlsListenerOptions,
} from '../src/index.ts'
import { makeCertificate, type TestCertificate } from './support/certificates.ts'
import { testContext } from './support.ts'

const pem = ({ cert, key }: TestCertificate): { cert: string; key: string } => ({ cert, key })
const one = makeCertificate({ name: 'one', dnsNames: ['one.example', '*.one.example'] })
const two = makeCertificate({ name: 'two', dnsNames: ['two.example', 'also.example'] })
const authority = makeCertificate({ name: 'authority', isAuthority: true })
const client = makeCertificate({ name: 'client', issuer: authority })
const several: TlsListenerOptions = { certificates: [pem(one), pem(two)] }

async function start(tls: TlsListenerOptions, options: HttpServerOptions = {}) {
  const app = serveHttp((session) => session.respond(200, { body: 'served' }), options)
  const service = new ListeningService('hosts', app)
  service.addTls('127.0.0.1:0', tls)
  await service.start(testContext())
  const { port } = service.endpoints()[0] as TcpAddress
  return {
    port,
    app,
    async [Symbol.asyncDispose]() {
      const drained = service.drain()
      service.destroy()
      await drained
    },
  }
}

/** What a client gets for each host, over one connection. */
async function over2(port: number, servername: string, hosts: readonly string[]): Promise<number[]> {
  const session = http2.connect(`https://127.0.0.1:${port}`, { servername, rejectUnauthorized: false })
  try {
    const statuses: number[] = []
    for (const host of hosts) {
      const stream = session.request({ ':authority': host, ':path': '/' })
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      stream.resume()
      await once(stream, 'close')
      statuses.push(headers[':status'] as unknown as number)
    }
    return statuses
  } finally {
    session.destroy()
  }
}

async function over1(
  port: number,
  servername: string,
  hosts: readonly string[],
  own = {},
): Promise<number[]> {
  const socket = connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false, ...own })
  const last = hosts.length - 1
  for (const [index, host] of hosts.entries()) {
    const close = index === last ? 'Connection: close\r\n' : ''
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n${close}\r\n`)
  }
  let text = ''
  for await (const chunk of socket.setEncoding('latin1')) text += chunk
  return [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
}

describe('RFC 9110 §15.5.20: 421 over HTTP/2 with several certificates', () => {
  test('for a host that the connection’s certificate does not name; the connection goes on', async () => {
    await using server = await start(several)
    const hosts = [
      'one.example',
      'a.one.example',
      'ONE.example:443',
      'two.example',
      'a.b.one.example',
      'one.example',
    ]
    expect(await over2(server.port, 'one.example', hosts)).toEqual([200, 200, 200, 421, 421, 200])
    expect(await over2(server.port, 'two.example', ['also.example', 'one.example', '127.0.0.1'])).toEqual([
      200, 421, 421,
    ])
    expect(server.app.stats().refusedHeads).toEqual({ MISDIRECTED_REQUEST: 4 })
  })

  test('a default certificate counts for its own names, and a client that asks for no name is believed', async () => {
    await using server = await start({ ...pem(one), certificates: [pem(two)] })
    expect(await over2(server.port, 'one.example', ['one.example', 'two.example'])).toEqual([200, 421])
    expect(await over2(server.port, '', ['one.example', 'two.example'])).toEqual([200, 200])
  })

  test('names that were given for a certificate count as its own', async () => {
    const certificates = [{ ...pem(one), serverNames: ['x.example', 'y.example'] }, pem(two)]
    await using server = await start({ certificates })
    expect(await over2(server.port, 'x.example', ['y.example', 'one.example', 'two.example'])).toEqual([
      200, 200, 421,
    ])
  })

  test('a certificate that is loaded at run time counts for what it names', async () => {
    await using server = await start({ ...pem(two), loadCertificate: async () => pem(one) })
    expect(await over2(server.port, 'one.example', ['one.example', 'a.one.example', 'z.example'])).toEqual([
      200, 200, 421,
    ])
  })

  test('not with one certificate, nor with "never"', async () => {
    await using single = await start(pem(one))
    expect(await over2(single.port, 'one.example', ['two.example'])).toEqual([200])
    await using never = await start(several, { hostCheck: 'never' })
    expect(await over2(never.port, 'one.example', ['two.example'])).toEqual([200])
  })
})

describe('over HTTP/1', () => {
  test('only with "always"', async () => {
    const hosts = ['one.example', 'two.example', 'one.example']
    await using server = await start(several)
    expect(await over1(server.port, 'one.example', hosts)).toEqual([200, 200, 200])
    await using strict = await start(several, { hostCheck: 'always' })
    expect(await over1(strict.port, 'one.example', hosts)).toEqual([200, 421, 200])
  })

  test('a host that wants a client certificate is not to be had over a connection that was asked for none', async () => {
    const clientCertificates = { mode: 'require', ca: authority.cert } as const
    const certificates = [pem(one), { ...pem(two), clientCertificates }]
    await using server = await start({ certificates })
    expect(await over1(server.port, 'one.example', ['one.example', 'two.example'])).toEqual([200, 421])
    expect(await over1(server.port, 'two.example', ['two.example', 'one.example'], pem(client))).toEqual([
      200, 200,
    ])
    expect(await over2(server.port, 'one.example', ['one.example', 'two.example'])).toEqual([200, 421])
    // HTTP/1.0 may leave Host out: then the target says it, here and to the upstream.
    for (const host of ['one.example', 'two.example', 'TWO.example:443']) {
      const to = {
        host: '127.0.0.1',
        port: server.port,
        servername: 'one.example',
        rejectUnauthorized: false,
      }
      const socket = connect(to).end(`GET http://${host}/ HTTP/1.0\r\n\r\n`)
      let text = ''
      for await (const chunk of socket.setEncoding('latin1')) text += chunk
      expect(text, host).toMatch(host === 'one.example' ? /^HTTP\/1\.1 200/ : /^HTTP\/1\.1 421/)
    }
    await using never = await start({ certificates }, { hostCheck: 'never' })
    expect(await over1(never.port, 'one.example', ['two.example'])).toEqual([200])
  })
})

test('a name whose policy is loaded is not to be had over a connection for another, known or not', async () => {
  const certificate = makeCertificate({ name: 'wild', dnsNames: ['*.example'] })
  const clientCertificates = { mode: 'require', ca: authority.cert } as const
  await using server = await start({
    ...pem(two),
    loadCertificate: (name) =>
      name === 'absent.example'
        ? undefined
        : { ...pem(certificate), ...(name === 'admin.example' ? { clientCertificates } : {}) },
    runtimeCertificates: { perNamePolicies: true },
  })
  const hosts = ['open.example', 'admin.example']
  for (const own of [undefined, pem(client)]) {
    expect(await over2(server.port, 'open.example', hosts)).toEqual([200, 421])
    expect(await over1(server.port, 'open.example', hosts)).toEqual([200, 421])
    expect(await over1(server.port, '', hosts.toReversed())).toEqual([421, 200])
    // From here on it is known.
    const admin = over1(server.port, 'admin.example', ['admin.example'], own)
    if (own === undefined) await expect(admin).rejects.toThrow(/certificate required/)
    else expect(await admin).toEqual([200])
  }
  expect(await over1(server.port, 'admin.example', hosts.toReversed(), pem(client))).toEqual([200, 200])
  // What nobody has asked for yet may ask for more than this connection was asked for.
  expect(await over1(server.port, 'open.example', ['new.example'])).toEqual([421])
  expect(await over1(server.port, 'absent.example', ['absent.example', 'open.example'])).toEqual([200, 200])
})

test('a resumed session is judged as the first one was', async () => {
  await using server = await start(several, { hostCheck: 'always' })
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = connect({
      host: '127.0.0.1',
      port: server.port,
      servername: 'two.example',
      rejectUnauthorized: false,
      maxVersion,
    })
    const sessions: Buffer[] = []
    first.on('session', (session: Buffer) => sessions.push(session))
    first.write('GET / HTTP/1.1\r\nHost: two.example\r\nConnection: close\r\n\r\n')
    first.resume()
    await once(first, 'close')
    const own = { maxVersion, session: sessions.at(-1) }
    // Of a resumed session of TLS 1.2 the name is not known, and nothing is held against it.
    const other = maxVersion === 'TLSv1.3' ? 421 : 200
    expect(await over1(server.port, 'two.example', ['two.example', 'one.example'], own)).toEqual([200, other])
  }
})

test('hostCheck takes three values', () => {
  const make = () => serveHttp(() => undefined, { hostCheck: 'sometimes' as 'always' })
  expect(make).toThrow(/"hostCheck" must be "http2", "always" or "never", not "sometimes"/)
})
