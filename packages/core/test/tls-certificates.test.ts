import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TlsIdentity, TlsListenerOptions, TlsReloadEvent } from '../src/index.ts'
import { makeCertificate, type TestCertificate } from './support/certificates.ts'
import { hasOpenssl, opensslClient } from './support/openssl.ts'
import { TlsService } from './support/tls.ts'

const one = makeCertificate({ name: 'one', dnsNames: ['one.example', '*.one.example'] })
const two = makeCertificate({ name: 'two', dnsNames: ['two.example', 'one.example'] })
const fallback = makeCertificate({ name: 'fallback', dnsNames: ['fallback.example'] })
const expired = makeCertificate({ name: 'expired', dnsNames: ['one.example'], fromDays: -9, toDays: -1 })
const pem = ({ cert, key }: TestCertificate): TlsIdentity => ({ cert, key })

describe('certificates by server name', () => {
  test('exact, wildcard and default; upper case; the first of two wins', async () => {
    await using service = await TlsService.start({ ...pem(fallback), certificates: [pem(one), pem(two)] })
    const asked = [
      'one.example',
      'ONE.Example',
      'a.one.example',
      'b.a.one.example',
      'two.example',
      'x.example',
      '',
    ]
    const served = []
    for (const name of asked) served.push(await service.nameServed(name))
    expect(served).toEqual(['one', 'one', 'one', 'fallback', 'two', 'fallback', 'fallback'])
  })

  test('names that are given go before those in certificates', async () => {
    const certificates = [pem(one), { ...pem(two), serverNames: ['one.example', '*.two.example'] }]
    await using service = await TlsService.start({ certificates })
    expect(await service.nameServed('one.example')).toBe('two')
    expect(await service.nameServed('a.two.example')).toBe('two')
    expect(await service.nameServed('a.one.example')).toBe('one')
    expect(await service.nameServed('two.example')).toBe('refused')
  })

  test('without a default certificate, other names and none at all are refused', async () => {
    await using service = await TlsService.start({ certificates: [pem(one)] })
    expect(await service.nameServed('other.example')).toBe('refused')
    expect(await service.nameServed('')).toBe('refused')
    expect(await service.nameServed('one.example')).toBe('one')
    expect(service.service.counters.handshakeFailedCount).toBe(2)
  })

  test('five hundred names', async () => {
    const certificates = Array.from({ length: 500 }, (_, index) => ({
      ...pem(index % 2 === 0 ? one : two),
      serverNames: [`host-${index}.example`],
    }))
    await using service = await TlsService.start({ certificates })
    expect(await service.nameServed('host-0.example')).toBe('one')
    expect(await service.nameServed('host-499.example')).toBe('two')
    expect(await service.nameServed('host-500.example')).toBe('refused')
  })

  test('each name may have its own ALPN protocols', async () => {
    const certificates = [{ ...pem(one), alpnProtocols: ['special'] }]
    await using service = await TlsService.start({ ...pem(fallback), certificates })
    const ALPNProtocols = ['http/1.1', 'special']
    expect(await service.visit('one.example', { ALPNProtocols })).toMatchObject({
      certificate: 'one',
      alpn: 'special',
    })
    expect((await service.visit('x.example', { ALPNProtocols })).alpn).toBe('http/1.1')
    expect(await service.nameServed('one.example', { ALPNProtocols: ['http/1.1'] })).toBe('refused')
  })

  const wrong: [TlsListenerOptions, RegExp][] = [
    [{ certificates: [{}] }, /certificates\[0\] of TLS on 127.0.0.1:0 needs a certificate and key/],
    [
      { certificates: [{ cert: one.cert, key: two.key }] },
      /certificates\[0\].*The key is not that of the certificate/,
    ],
    [{ cert: one.cert, key: two.key }, /The key is not that of the certificate/],
    [
      { certificates: [pem(makeCertificate({ name: 'nameless' }))] },
      /has no DNS names, so it needs "serverNames"/,
    ],
    [{ certificates: [{ ...pem(one), serverNames: ['a b'] }] }, /Expected a server name, received "a b"/],
    [
      { certificates: [pem(one), pem(two)].map((site) => ({ ...site, serverNames: ['same.example'] })) },
      /Two certificates .* have the server name "same.example"/,
    ],
    [{ certificates: [pem(one)], SNICallback: () => undefined }, /takes "SNICallback" or "certificates"/],
    [{ ...pem(one), profile: 'old' as 'modern' }, /profile of intermediate, modern, received 'old'/],
    [{ ...pem(one), ticketKeys: Buffer.alloc(47) }, /TicketKeys or a Buffer of 48 bytes/],
    [{ ...pem(one), runtimeCertificates: {} }, /no effect without "loadCertificate"/],
    [{ ...pem(one), reloadMs: -1 }, /reloadMs to be a whole number .*received -1/],
    [{ ...pem(one), ciphers: 'NONSENSE' }, /Invalid TLS options for 127.0.0.1:0/],
    [{ certFile: '/nowhere.pem' }, /"certFile" and "keyFile" of TLS on 127.0.0.1:0 go together/],
    [{ certificates: [{ ...pem(one), ca: 'x' } as never] }, /Unknown option 'ca' of certificates\[0\]/],
  ]
  test.each(wrong)('refuses %# at construction', async (options, message) => {
    await expect(TlsService.start(options)).rejects.toThrow(message)
  })
})

describe('certificates at run time', () => {
  test('are loaded once for all who wait, then kept', async () => {
    const asked: string[] = []
    const gate = Promise.withResolvers<TlsIdentity>()
    await using service = await TlsService.start({
      ...pem(fallback),
      certificates: [pem(one)],
      loadCertificate: (name) => {
        asked.push(name)
        return gate.promise
      },
    })
    const visits = Array.from({ length: 20 }, () => service.nameServed('New.example'))
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve))
    gate.resolve(pem(two))
    expect(new Set(await Promise.all(visits))).toEqual(new Set(['two']))
    expect(await service.nameServed('new.example')).toBe('two')
    expect(await service.nameServed('one.example')).toBe('one')
    expect(asked).toEqual(['new.example'])
  })

  test('a throw, a rejection, a bad or late certificate refuse their handshake and nothing else', async () => {
    const answers: Record<string, () => unknown> = {
      'throw.example': () => {
        throw new Error('thrown')
      },
      'reject.example': () => Promise.reject(new Error('rejected')),
      'odd.example': () => Promise.reject('a string'),
      'junk.example': () => ({ cert: 'junk', key: 'junk' }),
      'other-key.example': () => ({ cert: one.cert, key: two.key }),
      'expired.example': () => pem(expired),
      'late.example': () => new Promise(() => undefined),
      'absent.example': () => undefined,
      'good.example': () => pem(one),
    }
    const logged: string[] = []
    const logger = { debug() {}, info() {}, warn: (message: string) => void logged.push(message), error() {} }
    await using service = await TlsService.start(
      {
        ...pem(fallback),
        loadCertificate: (name) => answers[name]?.() as TlsIdentity,
        runtimeCertificates: { timeoutMs: 50 },
      },
      logger,
    )
    const served: Record<string, string | undefined> = {}
    for (const name of Object.keys(answers)) served[name] = await service.nameServed(name)
    expect(served).toEqual({
      'throw.example': 'refused',
      'reject.example': 'refused',
      'odd.example': 'refused',
      'junk.example': 'refused',
      'other-key.example': 'refused',
      'expired.example': 'refused',
      'late.example': 'refused',
      'absent.example': 'fallback',
      'good.example': 'one',
    })
    expect(logged).toContain('Cannot load a certificate')
  })

  test('loadsMax, entriesMax and absentMs bound what strangers can cause', async () => {
    const asked: string[] = []
    const waiting = new Map<string, (identity: TlsIdentity | undefined) => void>()
    await using service = await TlsService.start({
      loadCertificate: (name) => {
        asked.push(name)
        if (name.startsWith('slow')) return new Promise((resolve) => waiting.set(name, resolve))
        return name.startsWith('absent') ? undefined : pem(one)
      },
      runtimeCertificates: { loadsMax: 1, entriesMax: 2 },
    })
    const slow = service.nameServed('slow.example')
    while (waiting.size === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(await service.nameServed('a.example')).toBe('refused') // one load is running
    waiting.get('slow.example')?.(pem(two))
    expect(await slow).toBe('two')
    asked.length = 0
    for (const name of ['a', 'b', 'absent', 'absent', 'a', 'c', 'b'])
      await service.nameServed(`${name}.example`)
    // a and b fill it; absent is remembered apart; c pushes b out, which was used longest ago.
    expect(asked).toEqual(['a.example', 'b.example', 'absent.example', 'c.example', 'b.example'])
  })

  test('a name that could be a path never reaches the callback', async () => {
    const asked: string[] = []
    await using service = await TlsService.start({
      ...pem(fallback),
      loadCertificate: (name) => {
        asked.push(name)
        return undefined
      },
    })
    for (const name of ['../../key', 'a/b', 'a b', '%2e']) {
      expect(await service.nameServed(name)).toBe('fallback')
    }
    expect(asked).toEqual([])
  })

  test('only host names and ports: options out of bounds are refused', async () => {
    const loadCertificate = () => undefined
    for (const [name, value] of Object.entries({
      entriesMax: 0,
      refreshMs: 1,
      absentMs: -1,
      loadsMax: 0,
      timeoutMs: 0,
    })) {
      const start = TlsService.start({ loadCertificate, runtimeCertificates: { [name]: value } })
      await expect(start).rejects.toThrow(RangeError)
    }
    await expect(
      TlsService.start({ loadCertificate, runtimeCertificates: { max: 1 } as never }),
    ).rejects.toThrow("Unknown option 'max'")
  })
})

describe('files', () => {
  let folder: string

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cirque-tls-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  function files(name: string, certificate: TestCertificate): { certFile: string; keyFile: string } {
    const paths = { certFile: join(folder, `${name}.pem`), keyFile: join(folder, `${name}.key`) }
    replace(paths, certificate)
    return paths
  }

  function replace(
    paths: { certFile: string; keyFile: string },
    { cert, key }: { cert: string; key: string },
  ): void {
    writeFileSync(`${paths.keyFile}.new`, key)
    writeFileSync(`${paths.certFile}.new`, cert)
    renameSync(`${paths.keyFile}.new`, paths.keyFile)
    renameSync(`${paths.certFile}.new`, paths.certFile)
  }

  /** Collects events, and waits for the next one. */
  class Events {
    readonly #waiting: ((event: TlsReloadEvent) => void)[] = []
    readonly onReload = (event: TlsReloadEvent): void => this.#waiting.shift()?.(event)
    next(): Promise<TlsReloadEvent> {
      return new Promise((resolve) => this.#waiting.push(resolve))
    }
  }

  test('a new certificate is served as soon as it is there; connections live on', async () => {
    const events = new Events()
    const named = files('named', one)
    const common = files('common', fallback)
    await using service = await TlsService.start({
      ...common,
      certificates: [named],
      onReload: events.onReload,
    })
    const client = await service.connect({ servername: 'one.example' })
    await once(client, 'data')
    let event = events.next()
    replace(named, makeCertificate({ name: 'one again', dnsNames: ['one.example', 'added.example'] }))
    expect(await event).toMatchObject({
      kind: 'reloaded',
      certFile: named.certFile,
      serverNames: ['one.example', 'added.example'],
    })
    event = events.next()
    replace(common, makeCertificate({ name: 'fallback again' }))
    expect(await event).toMatchObject({ kind: 'reloaded', certFile: common.certFile })
    expect(await service.nameServed('one.example')).toBe('one again')
    expect(await service.nameServed('added.example')).toBe('one again')
    expect(await service.nameServed('a.one.example')).toBe('fallback again')
    expect(await service.nameServed('')).toBe('fallback again')
    client.write('still here')
    expect(String((await once(client, 'data'))[0])).toBe('still here')
    client.destroy()
  })

  test('a bad certificate is refused with an event, and the old one stays', async () => {
    const events = new Events()
    const logged: string[] = []
    const logger = { debug() {}, info() {}, warn() {}, error: (message: string) => void logged.push(message) }
    const paths = files('bad', one)
    await using service = await TlsService.start({ ...paths, onReload: events.onReload }, logger)
    const bad: [{ cert: string; key: string }, RegExp][] = [
      [{ cert: one.cert, key: two.key }, /The key is not that of the certificate/],
      [expired, /The certificate has expired/],
      [makeCertificate({ fromDays: 1 }), /The certificate is not valid yet/],
      [{ cert: 'junk', key: one.key }, /Cannot read the certificate/],
      [{ cert: '', key: '' }, /Cannot read the certificate/],
    ]
    for (const [content, reason] of bad) {
      const event = events.next()
      replace(paths, content)
      const { kind, error } = await event
      expect(kind).toBe('rejected')
      expect(error?.message).toMatch(reason)
      expect(await service.nameServed('x.example')).toBe('one')
    }
    let event = events.next()
    rmSync(paths.certFile)
    expect((await event).error?.message).toMatch(/ENOENT/)
    event = events.next()
    replace(paths, two)
    expect((await event).kind).toBe('reloaded')
    expect(await service.nameServed('x.example')).toBe('two')
    expect(new Set(logged)).toEqual(new Set(['Certificate not reloaded, the old one stays']))
  })

  test.each(['throws', 'rejects'])(
    'what changed before the start is served; a listener of events that %s is harmless',
    async (way) => {
      const paths = files(`early-${way}`, one)
      let called: () => void = () => undefined
      const event = new Promise<void>((resolve) => {
        called = resolve
      })
      const starting = TlsService.start({
        ...paths,
        onReload: () => {
          called()
          if (way === 'rejects') return Promise.reject(new Error('from the listener')) as never
          throw new Error('from the listener')
        },
      })
      replace(paths, two) // addTls has read the files by now, in the same turn
      await using service = await starting
      await event
      expect(await service.nameServed('x.example')).toBe('two')
    },
  )
})

describe('hostile handshakes', () => {
  const options: [string, TlsListenerOptions][] = [
    ['one policy', pem(one)],
    ['two policies', { ...pem(fallback), certificates: [{ ...pem(one), alpnProtocols: ['special'] }] }],
  ]

  test.each(options)('%s: garbage, silence and half a ClientHello end alone, in time', async (_name, tls) => {
    await using service = await TlsService.start({ ...tls, handshakeTimeoutMs: 100 })
    const beginnings = [
      '',
      'GET / HTTP/1.1\r\n\r\n',
      '\x16\x03\x01',
      '\x16\x03\x01\x02\x00\x01\x00',
      '\x16\x03\x01\x00\x00',
      '\0'.repeat(9000),
    ]
    const closed = beginnings.map(async (text) => {
      const socket = connectTcp({ host: '127.0.0.1', port: service.port })
      socket.on('error', () => undefined)
      socket.write(Buffer.from(text, 'latin1'))
      await new Promise((resolve) => socket.once('close', resolve).resume())
    })
    await Promise.all(closed)
    expect(service.service.counters.handshakeFailedCount).toBe(beginnings.length)
    expect(await service.nameServed('one.example', { ALPNProtocols: ['special', 'http/1.1'] })).toBe('one')
  })

  test.each(options)(
    '%s: a client that leaves within the handshake leaves nothing behind',
    async (_name, tls) => {
      await using service = await TlsService.start(tls)
      for (const cut of [0, 1, 5, 6, 200]) {
        const socket = connectTcp({ host: '127.0.0.1', port: service.port })
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        socket.end(Buffer.alloc(cut, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 'latin1'))
        await new Promise((resolve) => socket.once('close', resolve).resume())
      }
      while (service.service.counters.openCount > 0) await new Promise((resolve) => setImmediate(resolve))
    },
  )

  test.each(options)('%s: a ClientHello in single bytes is served', async (_name, tls) => {
    await using service = await TlsService.start(tls)
    const { createServer } = await import('node:net')
    const relay = createServer((client) => {
      const upstream = connectTcp({ host: '127.0.0.1', port: service.port, noDelay: true })
      client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
      upstream.on('error', () => client.destroy()).pipe(client)
      client.once('data', async (hello: Buffer) => {
        client.pause()
        for (let at = 0; at < 150; at += 1) {
          upstream.write(hello.subarray(at, at + 1))
          await new Promise((resolve) => setImmediate(resolve))
        }
        upstream.write(hello.subarray(150))
        client.pipe(upstream)
      })
    }).listen(0, '127.0.0.1')
    await once(relay, 'listening')
    const { port } = relay.address() as { port: number }
    const visit = await service.visit('one.example', { port, ALPNProtocols: ['special', 'http/1.1'] })
    expect(visit.certificate).toBe('one')
    relay.close()
  })

  test.skipIf(!hasOpenssl)('renegotiation is refused', async () => {
    await using service = await TlsService.start(pem(one))
    const argv = ['-connect', `127.0.0.1:${service.port}`, '-servername', 'one.example', '-tls1_2']
    const said = await opensslClient(argv, 'R')
    expect(said).toContain('"version"')
    expect(said).toMatch(/RENEGOTIATING[\s\S]*no renegotiation/)
  })
})
