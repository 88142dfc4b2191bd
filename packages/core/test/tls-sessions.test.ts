import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, DEFAULT_ECDH_CURVE } from 'node:tls'
import { describe, expect, test } from 'vitest'
import {
  type CertificateFacts,
  type ClientCertificates,
  silentLogger,
  TicketKeys,
  type TlsListenerOptions,
} from '../src/index.ts'
import { TlsAcceptor } from '../src/tls/acceptor.ts'
import { fingerprintOf, makeCertificate, type TestCertificate } from './support/certificates.ts'
import { hasOpenssl, opensslClient } from './support/openssl.ts'
import { TlsService } from './support/tls.ts'

const one = makeCertificate({ name: 'one', dnsNames: ['one.example'] })
const two = makeCertificate({ name: 'two', dnsNames: ['two.example'] })
const authority = makeCertificate({ name: 'authority', isAuthority: true })
const stranger = makeCertificate({ name: 'stranger', isAuthority: true })
const client = makeCertificate({ name: 'client 7', issuer: authority, uris: ['spiffe://example/7'] })
const impostor = makeCertificate({ name: 'client 7', issuer: stranger })
const expired = makeCertificate({ name: 'old client', issuer: authority, fromDays: -9, toDays: -1 })
const pem = ({ cert, key }: TestCertificate): { cert: string; key: string } => ({ cert, key })
const versions = ['TLSv1.2', 'TLSv1.3'] as const

describe('resumption', () => {
  test.each(versions)(
    '%s: at another listener that shares the ticket keys, and not at one that does not',
    async (maxVersion) => {
      const ticketKeys = new TicketKeys()
      const certificates = [pem(one), pem(two)]
      await using first = await TlsService.start({ certificates, ticketKeys })
      await using second = await TlsService.start({
        certificates,
        ticketKeys: TicketKeys.import(ticketKeys.export()),
      })
      await using other = await TlsService.start({ certificates })
      const { session, resumed } = await first.visit('one.example', { maxVersion })
      expect(resumed).toBe(false)
      const again = (service: TlsService) =>
        service.visit('one.example', { maxVersion, session: session as Buffer })
      expect(await again(first)).toMatchObject({
        resumed: true,
        seen: { resumed: true, version: maxVersion },
      })
      expect((await again(second)).resumed).toBe(true)
      expect((await again(other)).resumed).toBe(false)
    },
  )

  test.each(versions)(
    '%s: no more once the keys have rotated, and again with the new ones',
    async (maxVersion) => {
      let time = Date.now()
      const ticketKeys = new TicketKeys({ rotationMs: 60_000, now: () => time })
      await using service = await TlsService.start({ ...pem(one), certificates: [pem(two)], ticketKeys })
      for (const name of ['one.example', 'two.example']) {
        const before = await service.visit(name, { maxVersion })
        time += 60_000
        const after = await service.visit(name, { maxVersion, session: before.session as Buffer })
        expect(after.resumed).toBe(false)
        expect((await service.visit(name, { maxVersion, session: after.session as Buffer })).resumed).toBe(
          true,
        )
      }
    },
  )

  test('48 bytes are keys that never rotate', async () => {
    const ticketKeys = Buffer.alloc(48, 7)
    await using first = await TlsService.start({ ...pem(one), ticketKeys })
    await using second = await TlsService.start({ ...pem(one), ticketKeys })
    const { session } = await first.visit('one.example')
    expect((await second.visit('one.example', { session: session as Buffer })).resumed).toBe(true)
  })

  test.skipIf(!hasOpenssl).each([
    ['-tls1_2', 'one.example'],
    ['-tls1_3', 'one.example'],
    ['-tls1_3', 'two.example'],
  ])(
    '%s: a session of %s opens no name that asks for a certificate (CVE-2025-23419)',
    async (version, name) => {
      const folder = mkdtempSync(join(tmpdir(), 'cirque-session-'))
      try {
        const clientCertificates: ClientCertificates = { mode: 'require', ca: authority.cert }
        await using service = await TlsService.start({
          ...pem(one),
          certificates: [
            { ...pem(two), clientCertificates },
            {
              ...pem(two),
              serverNames: ['three.example'],
              clientCertificates: { ...clientCertificates, ca: stranger.cert },
            },
          ],
        })
        const session = join(folder, 'session')
        const files = ['-cert', join(folder, 'cert'), '-key', join(folder, 'key')]
        writeFileSync(join(folder, 'cert'), client.cert)
        writeFileSync(join(folder, 'key'), client.key)
        const visit = (servername: string, ...more: string[]): Promise<string> =>
          opensslClient(
            ['-connect', `127.0.0.1:${service.port}`, '-servername', servername, version, ...more],
            'Q',
          )
        expect(await visit(name, '-sess_out', session, ...files)).toContain('"version"')
        expect(await visit(name, '-sess_in', session)).toMatch(/Reused, TLSv1[\s\S]*"resumed":true/)
        const others = ['two.example', 'three.example'].filter((other) => other !== name)
        for (const other of others) expect(await visit(other, '-sess_in', session)).not.toContain('"version"')
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )
})

describe('client certificates', () => {
  const require: ClientCertificates = { mode: 'require', ca: authority.cert }

  async function outcomes(options: TlsListenerOptions, name: string = 'one.example'): Promise<string[]> {
    await using service = await TlsService.start(options)
    const found: string[] = []
    for (const maxVersion of versions) {
      for (const identity of [{}, pem(client), pem(impostor), pem(expired)]) {
        const visit = service.visit(name, { maxVersion, ...identity })
        found.push(
          await visit.then(
            ({ seen: { peerCertificate: given } }) =>
              given === undefined ? 'none' : given.verified ? 'good' : 'bad',
            () => 'refused',
          ),
        )
      }
    }
    return found
  }

  test('require: no certificate, a stranger and an expired one are refused', async () => {
    const expected = ['refused', 'good', 'refused', 'refused']
    expect(await outcomes({ ...pem(one), clientCertificates: require })).toEqual([...expected, ...expected])
  })

  test('optional: none is let in, a bad one is not', async () => {
    const clientCertificates: ClientCertificates = { mode: 'optional', ca: authority.cert }
    const expected = ['none', 'good', 'refused', 'refused']
    expect(await outcomes({ ...pem(one), clientCertificates })).toEqual([...expected, ...expected])
  })

  test('each name has its own policy', async () => {
    const certificates = [{ ...pem(two), clientCertificates: require }]
    const strict = ['refused', 'good', 'refused', 'refused']
    const open = ['none', 'none', 'none', 'none']
    expect(await outcomes({ ...pem(one), certificates }, 'one.example')).toEqual([...open, ...open])
    expect(await outcomes({ ...pem(one), certificates }, 'two.example')).toEqual([...strict, ...strict])
    const reversed = {
      ...pem(one),
      clientCertificates: require,
      certificates: [{ ...pem(two), clientCertificates: 'none' as const }],
    }
    expect(await outcomes(reversed, 'one.example')).toEqual([...strict, ...strict])
    expect(await outcomes(reversed, 'two.example')).toEqual([...open, ...open])
  })

  test.each(versions)(
    '%s: a session of a listener that asks otherwise opens nothing, though both share ticket keys (CVE-2025-23419)',
    async (maxVersion) => {
      const ticketKeys = new TicketKeys()
      const others: TlsListenerOptions[] = [
        {},
        { clientCertificates: { mode: 'optional', ca: authority.cert } },
        { clientCertificates: { mode: 'optional', ca: stranger.cert } },
        { requestCert: true, rejectUnauthorized: false },
      ]
      await using strict = await TlsService.start({ ...pem(one), ticketKeys, clientCertificates: require })
      for (const asks of others) {
        await using open = await TlsService.start({ ...pem(one), ticketKeys, ...asks })
        const { session } = await open.visit('one.example', { maxVersion })
        expect((await open.visit('one.example', { maxVersion, session: session as Buffer })).resumed).toBe(
          true,
        )
        await expect(
          strict.visit('one.example', { maxVersion, session: session as Buffer }),
        ).rejects.toThrow()
        const shown = { maxVersion, session: session as Buffer, ...pem(client) }
        expect((await strict.visit('one.example', shown)).resumed).toBe(false)
      }
    },
  )

  test('verify decides with the facts; false, a throw, a rejection and silence refuse', async () => {
    const asked: [CertificateFacts, string | undefined][] = []
    const verdicts: (() => unknown)[] = [
      () => true,
      () => Promise.resolve(true),
      () => false,
      () => Promise.resolve(false),
      () => Promise.resolve('true'),
      () => {
        throw new Error('thrown')
      },
      () => Promise.reject(new Error('rejected')),
      () => new Promise(() => undefined),
    ]
    let verdict: () => unknown = () => false
    const verify = (facts: CertificateFacts, serverName: string | undefined) => {
      asked.push([facts, serverName])
      return verdict() as boolean
    }
    await using service = await TlsService.start({
      ...pem(one),
      clientCertificates: { ...require, verify, verifyTimeoutMs: 50 },
    })
    const found: string[] = []
    for (verdict of verdicts) {
      found.push(
        await service.visit('One.example', pem(client)).then(
          () => 'served',
          () => 'refused',
        ),
      )
    }
    expect(found).toEqual(['served', 'served', ...Array.from({ length: 6 }, () => 'refused')])
    expect(asked).toHaveLength(verdicts.length)
    expect(asked[0]).toEqual([
      {
        subject: 'CN=client 7',
        issuer: 'CN=authority',
        subjectAltName: 'URI:spiffe://example/7',
        serialNumber: expect.stringMatching(/^[0-9A-F]{32}$/),
        fingerprint256: fingerprintOf(client.cert),
        validFromMs: expect.any(Number),
        validToMs: expect.any(Number),
        verified: true,
      },
      'one.example',
    ])
    expect(service.service.counters.handshakeFailedCount).toBe(6)
  })

  test.each(versions)(
    '%s: a resumed session knows its certificate, and verify is asked again',
    async (maxVersion) => {
      let isRevoked = false
      const verify = () => !isRevoked
      await using service = await TlsService.start({
        ...pem(one),
        clientCertificates: { ...require, verify },
      })
      const options = { maxVersion, ...pem(client) }
      const { session, seen } = await service.visit('one.example', options)
      const again = await service.visit('one.example', { ...options, session: session as Buffer })
      expect(again).toMatchObject({ resumed: true, seen: { peerCertificate: seen.peerCertificate } })
      isRevoked = true
      await expect(service.visit('one.example', { ...options, session: session as Buffer })).rejects.toThrow()
    },
  )

  const wrong: [TlsListenerOptions, RegExp][] = [
    [{ clientCertificates: { mode: 'require' } }, /need "ca" or "caFile": who signs the clients\?/],
    [
      { clientCertificates: { mode: 'require', ca: [] } },
      /"ca" of clientCertificates of TLS on 127.0.0.1:0: There is no certificate in it/,
    ],
    [
      { clientCertificates: { mode: 'always' as 'require', ca: 'x' } },
      /require or optional, received 'always'/,
    ],
    [{ clientCertificates: { ...require, verifyTimeoutMs: 0 } }, /verifyTimeoutMs/],
    [
      { clientCertificates: { ...require, verify: 1 as never } },
      /verify of clientCertificates to be a function, received 1/,
    ],
    [{ clientCertificates: { ...require, more: 1 } as never }, /Unknown option 'more'/],
    [{ clientCertificates: 'nobody' as 'none' as never }, /to be an object or 'none', received 'nobody'/],
    [{ clientCertificates: { mode: 'require', ca: 'x' } }, /Invalid "ca" .*: There is no certificate in it/],
    [
      { clientCertificates: { mode: 'require', ca: 7 as never } },
      /Invalid "ca" .*: Expected PEM, received number/,
    ],
    [{ clientCertificates: { mode: 'require', ca: [7 as never] } }, /Expected PEM, received number/],
    [
      { clientCertificates: { mode: 'require', ca: authority.cert.slice(0, -40) + authority.cert } },
      /cut off or damaged|cannot be read/,
    ],
    [
      { clientCertificates: { ...require, crl: 'x' } },
      /Invalid "crl" .*: There is no list of revoked certificates/,
    ],
    [{ clientCertificates: { ...require, crl: 'x', crlFile: 'y' } }, /have both "crl" and "crlFile"/],
    [
      { clientCertificates: { mode: 'require', caFile: '/nowhere.pem' } },
      /Cannot read "\/nowhere.pem" for clientCertificates of TLS on 127.0.0.1:0/,
    ],
    [
      { certificates: [{ ...pem(two), alpnProtocols: 'h2' as never }] },
      /array of up to 32 names, received 'h2'/,
    ],
    [
      { certificates: [{ ...pem(two), alpnProtocols: [''] }] },
      /alpnProtocols of certificates\[0\] .*received \[ '' \]/,
    ],
    [
      { ALPNCallback: () => 'x', certificates: [{ ...pem(two), alpnProtocols: ['x'] }] },
      /"alpnProtocols" of certificates\[0\] .* has no effect beside "ALPNCallback"/,
    ],
    [
      { certificates: [{ ...pem(two), serverNames: 'a' as never }] },
      /serverNames .* to be an array, received 'a'/,
    ],
    [{ clientCertificates: require, requestCert: true }, /takes "clientCertificates" or "requestCert"/],
    [
      { requestCert: true, certificates: [{ ...pem(two), clientCertificates: 'none' }] },
      /instead of "requestCert"/,
    ],
  ]
  test.each(wrong)('refuses %# at construction', async (options, message) => {
    await expect(TlsService.start({ ...pem(one), ...options })).rejects.toThrow(message)
  })
})

describe('a server name that is another one in the second ClientHello', () => {
  const clientCertificates: ClientCertificates = { mode: 'require', ca: authority.cert }
  const options: TlsListenerOptions = {
    ...pem(one),
    certificates: [{ ...pem(two), clientCertificates }],
    ticketKeys: Buffer.alloc(48, 3),
  }

  // The acceptor is told another name than the client asks for: so it looks from there.
  test.each([
    [undefined, 'one.example', 'served'],
    ['two.example', 'two.example', 'served'],
    [undefined, 'two.example', 'refused'],
    ['two.example', 'one.example', 'refused'],
  ])('read %s, then %s: %s', async (read, asked, expected) => {
    const acceptor = new TlsAcceptor('127.0.0.1:0', options, undefined)
    const { promise, resolve } = Promise.withResolvers<string>()
    acceptor.open(
      {
        onSecure: (socket) => {
          resolve('served')
          socket.on('error', () => undefined).destroy()
        },
        onHandshakeFailed: (_error, socket) => {
          resolve('refused')
          socket.destroy()
        },
      },
      silentLogger,
    )
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      acceptor.onServerName(socket, read)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const visitor = connect({
      host: '127.0.0.1',
      port,
      servername: asked,
      rejectUnauthorized: false,
      ...pem(client),
    })
    visitor.on('error', () => undefined)
    expect(await promise).toBe(expected)
    visitor.destroy()
    acceptor.close()
    server.close()
    await once(server, 'close')
  })
})

describe('versions, ciphers and groups', () => {
  test('intermediate, the default: TLS 1.2 and 1.3, no cipher without forward secrecy', async () => {
    await using service = await TlsService.start(pem(one))
    for (const maxVersion of versions) {
      expect((await service.visit('one.example', { maxVersion })).seen.version).toBe(maxVersion)
    }
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL@SECLEVEL=0' } as const
    await expect(service.visit('one.example', old)).rejects.toThrow()
    const weak = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' } as const
    await expect(service.visit('one.example', weak)).rejects.toThrow()
  })

  test('modern: TLS 1.3 only', async () => {
    await using service = await TlsService.start({ ...pem(one), profile: 'modern' })
    expect((await service.visit('one.example')).seen.version).toBe('TLSv1.3')
    await expect(service.visit('one.example', { maxVersion: 'TLSv1.2' })).rejects.toThrow()
  })

  test("an option of one's own replaces that of the profile", async () => {
    await using service = await TlsService.start({ ...pem(one), ciphers: 'TLS_CHACHA20_POLY1305_SHA256' })
    expect((await service.visit('one.example')).seen.cipher).toBe('TLS_CHACHA20_POLY1305_SHA256')
  })

  test('post-quantum key exchange unless one of the two does not want it', async () => {
    expect(DEFAULT_ECDH_CURVE).toBe('auto')
    await using service = await TlsService.start(pem(one))
    await using classic = await TlsService.start({ ...pem(one), ecdhCurve: 'X25519' })
    expect((await service.visit('one.example')).group).toBe('X25519MLKEM768')
    expect((await service.visit('one.example', { ecdhCurve: 'P-256' })).group).toMatch(/prime256v1|secp256r1/)
    expect((await classic.visit('one.example')).group).toBe('X25519')
  })
})

/** A FIPS provider of OpenSSL that Node.js can use, if the machine has one. */
function hasFips(): boolean {
  return spawnSync(process.execPath, ['--force-fips', '-e', '0']).status === 0
}

test.skipIf(!hasFips())(
  'under FIPS, listeners serve and resume with what it knows, and refuse the rest',
  () => {
    const program = join(import.meta.dirname, 'programs/tls-once.ts')
    const output = execFileSync(process.execPath, ['--force-fips', '--conditions=@cirque/source', program])
    expect(String(output).trimEnd().split('\n')).toEqual([
      'TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 new',
      'TLSv1.3 TLS_AES_256_GCM_SHA384 X25519MLKEM768 resumed',
      'TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 prime256v1 new',
      'TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 undefined resumed',
      'Invalid TLS options for 127.0.0.1:0: Failed to set ECDH curve',
    ])
  },
)
