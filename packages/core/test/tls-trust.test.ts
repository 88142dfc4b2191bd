import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LoadedCertificate, TlsListenerOptions, TlsReloadEvent } from '../src/index.ts'
import { planAcceptor } from '../src/tls/acceptor-plan.ts'
import { RuntimeCertificates } from '../src/tls/runtime-certificates.ts'
import { makeCertificate, makeRevocations, type TestCertificate } from './support/certificates.ts'
import { TlsService } from './support/tls.ts'

const pem = ({ cert, key }: TestCertificate): { cert: string; key: string } => ({ cert, key })
const one = makeCertificate({ name: 'one', dnsNames: ['one.example'] })
const two = makeCertificate({ name: 'two', dnsNames: ['two.example'] })
const oldAuthority = makeCertificate({ name: 'old authority', isAuthority: true })
const newAuthority = makeCertificate({ name: 'new authority', isAuthority: true })
const oldClient = makeCertificate({ name: 'old client', issuer: oldAuthority })
const newClient = makeCertificate({ name: 'new client', issuer: newAuthority })

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-trust-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function put(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(`${path}.new`, content)
  renameSync(`${path}.new`, path)
  return path
}

/** Waits for events of one kind after another. */
class Events {
  readonly #came: TlsReloadEvent[] = []
  #wake: () => void = () => undefined
  readonly onReload = (event: TlsReloadEvent): void => {
    this.#came.push(event)
    this.#wake()
  }
  async next(): Promise<TlsReloadEvent> {
    for (;;) {
      const event = this.#came.shift()
      if (event !== undefined) return event
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/** Whether each client is served for a name. */
async function served(service: TlsService, name: string, ...clients: TestCertificate[]): Promise<boolean[]> {
  const found: boolean[] = []
  for (const client of clients) found.push((await service.nameServed(name, pem(client))) !== 'refused')
  return found
}

describe('authorities of client certificates in a file', () => {
  test('are read again: for each name, and for certificates of run time; connections and sessions', async () => {
    const events = new Events()
    const caFile = put('ca.pem', oldAuthority.cert)
    const clientCertificates = { mode: 'require', caFile } as const
    await using service = await TlsService.start({
      ...pem(one),
      certificates: [{ ...pem(two), clientCertificates: { ...clientCertificates, verify: () => true } }],
      clientCertificates,
      loadCertificate: (name) => (name === 'late.example' ? pem(one) : undefined),
      onReload: events.onReload,
    })
    const names = ['one.example', 'two.example', 'late.example', 'other.example']
    for (const name of names) expect(await served(service, name, oldClient, newClient)).toEqual([true, false])
    const open = await service.connect({ servername: 'two.example', ...pem(oldClient) })
    await once(open, 'data')
    const sessions = await Promise.all(names.map((name) => service.visit(name, pem(oldClient))))

    put('ca.pem', `A comment\n${newAuthority.cert}`)
    for (const _ of ['listener', 'two.example']) {
      expect(await events.next()).toEqual({
        kind: 'reloaded',
        certFile: undefined,
        caFile,
        serverNames: [],
        validToMs: undefined,
        error: undefined,
      })
    }
    for (const name of names) expect(await served(service, name, oldClient, newClient)).toEqual([false, true])
    open.write('still here')
    expect(String((await once(open, 'data'))[0])).toBe('still here')
    open.destroy()
    // A session of somebody who is trusted no longer does not outlive that; TLS 1.3 alone would resume it.
    for (const [index, { session }] of sessions.entries()) {
      const again = service.visit(names[index] ?? '', { ...pem(oldClient), session: session as Buffer })
      await expect(again).rejects.toThrow()
    }
  })

  test('a file that is damaged, empty or gone is told once, and the old one stays', async () => {
    const events = new Events()
    const logged: string[] = []
    const logger = { debug() {}, info() {}, warn() {}, error: (message: string) => void logged.push(message) }
    const caFile = put('bad.pem', oldAuthority.cert)
    const options: TlsListenerOptions = {
      ...pem(one),
      clientCertificates: { mode: 'require', caFile },
      onReload: events.onReload,
    }
    await using service = await TlsService.start(options, logger)
    const both = oldAuthority.cert + newAuthority.cert
    const bad: [string, RegExp][] = [
      [both.slice(0, -60), /It is cut off or damaged: only 1 of it can be read/],
      ['', /There is no certificate in it/],
      [newAuthority.key, /There is no certificate in it/],
      [newAuthority.cert.replace(/\n.{8}/, '\nAAAAAAAA'), /The certificate number 1 cannot be read/],
    ]
    for (const [content, reason] of bad) {
      put('bad.pem', content)
      const { kind, error, caFile: file } = await events.next()
      expect([kind, file]).toEqual(['rejected', caFile])
      expect(error?.message).toMatch(reason)
      expect(await served(service, 'x.example', oldClient, newClient)).toEqual([true, false])
    }
    rmSync(caFile)
    expect((await events.next()).error?.message).toMatch(/ENOENT/)
    put('bad.pem', both)
    expect((await events.next()).kind).toBe('reloaded')
    expect(await served(service, 'x.example', oldClient, newClient)).toEqual([true, true])
    expect(new Set(logged)).toEqual(
      new Set(['Authorities of client certificates not reloaded, the old ones stay']),
    )
  })

  test('what is revoked is read again, for each of several authorities', async () => {
    const events = new Events()
    const lists = (...revoked: TestCertificate[]) =>
      [oldAuthority, newAuthority]
        .map((issuer) =>
          makeRevocations(
            issuer,
            revoked.filter((one) => (one === oldClient) === (issuer === oldAuthority)),
          ),
        )
        .join('')
    const crlFile = put('crl.pem', lists())
    const ca = [oldAuthority.cert, newAuthority.cert]
    await using service = await TlsService.start({
      ...pem(one),
      clientCertificates: { mode: 'require', ca, crlFile },
      onReload: events.onReload,
    })
    expect(await served(service, 'x.example', oldClient, newClient)).toEqual([true, true])
    put('crl.pem', lists(newClient))
    expect(await events.next()).toMatchObject({ kind: 'reloaded', caFile: crlFile })
    expect(await served(service, 'x.example', oldClient, newClient)).toEqual([true, false])
    put('crl.pem', lists(oldClient, newClient))
    expect((await events.next()).kind).toBe('reloaded')
    expect(await served(service, 'x.example', oldClient, newClient)).toEqual([false, false])
    put('crl.pem', newAuthority.cert)
    expect((await events.next()).error?.message).toMatch(/There is no list of revoked certificates in it/)
    expect(await served(service, 'x.example', oldClient, newClient)).toEqual([false, false])
  })
})

describe('what is asked of clients, by names of run time', () => {
  const runtimeCertificates = { perNamePolicies: true }
  const require = { mode: 'require', ca: newAuthority.cert } as const
  const names: Record<string, LoadedCertificate> = {
    'strict.example': { ...pem(two), clientCertificates: require },
    'open.example': { ...pem(two), clientCertificates: 'none' },
    'same.example': pem(two),
    'special.example': { ...pem(two), alpnProtocols: ['special'] },
  }
  const start = (options: TlsListenerOptions = {}) =>
    TlsService.start({
      ...pem(one),
      loadCertificate: async (name) => {
        await new Promise((resolve) => setImmediate(resolve))
        return names[name]
      },
      runtimeCertificates,
      ...options,
    })

  test('each has its own, or that of the listener', async () => {
    await using service = await start({
      clientCertificates: { mode: 'require', ca: oldAuthority.cert },
    })
    expect(await served(service, 'strict.example', oldClient, newClient)).toEqual([false, true])
    expect(await served(service, 'same.example', oldClient, newClient)).toEqual([true, false])
    expect(await served(service, 'absent.example', oldClient, newClient)).toEqual([true, false])
    expect(await served(service, 'special.example', oldClient, newClient)).toEqual([false, false])
    const own = { ALPNProtocols: ['special', 'http/1.1'], ...pem(oldClient) }
    expect(await service.visit('special.example', own)).toMatchObject({ certificate: 'two', alpn: 'special' })
    expect((await service.visit('same.example', own)).alpn).toBe('http/1.1')
    expect((await service.visit('open.example')).seen.peerCertificate).toBeUndefined()
    expect(await service.nameServed('strict.example')).toBe('refused')
    expect(await service.nameServed('', pem(oldClient))).toBe('one')
  })

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s: a session of one name opens no other that asks for more',
    async (maxVersion) => {
      await using service = await start()
      const { session } = await service.visit('open.example', { maxVersion })
      const options = { maxVersion, session: session as Buffer }
      expect((await service.visit('open.example', options)).resumed).toBe(true)
      expect((await service.visit('same.example', options)).resumed).toBe(false) // it is for one name
      await expect(service.visit('strict.example', options)).rejects.toThrow()
      const strict = await service.visit('strict.example', { maxVersion, ...pem(newClient) })
      const again = { maxVersion, session: strict.session as Buffer, ...pem(newClient) }
      expect((await service.visit('strict.example', again)).resumed).toBe(true)
    },
  )

  test('are no more than certificates that are kept, and equal ones are one', async () => {
    const loaded = (ca: TestCertificate) => ({
      ...pem(two),
      clientCertificates: { mode: 'require', ca: ca.cert } as const,
    })
    const load = (name: string) => loaded(name.startsWith('old') ? oldAuthority : newAuthority)
    const options = { ...pem(one), loadCertificate: load }
    const { runtimePolicies } = planAcceptor('127.0.0.1:0', options, undefined)
    const runtime = new RuntimeCertificates(load, runtimePolicies, { ...runtimeCertificates, entriesMax: 2 })
    const find = (name: string) => new Promise<void>((resolve) => runtime.find(name, () => resolve()))
    for (const name of ['new.a', 'new.b', 'new.c', 'new.d']) await find(name)
    expect(runtimePolicies.all).toHaveLength(1)
    expect(runtime.policyOf('new.c')).toBe(runtime.policyOf('new.d'))
    expect(runtime.policyOf('new.a')).toBeUndefined()
    await find('old.a')
    expect(runtimePolicies.all).toHaveLength(2)
    await find('old.b')
    expect(runtimePolicies.all).toEqual([runtime.policyOf('old.a')])
  })

  test('misuse refuses the handshake, and the log names it', async () => {
    const reasons: string[] = []
    const logger = {
      debug() {},
      info() {},
      error() {},
      warn: (_message: string, fields?: { readonly error?: unknown }) => {
        reasons.push(String(fields?.error))
      },
    }
    const wrong: [unknown, RegExp, object?][] = [
      [
        { ...pem(two), alpnProtocols: 'h2' },
        /TypeError: .*alpnProtocols of what loadCertificate gave for "x.example".*'h2'/,
      ],
      [{ ...pem(two), clientCertificates: {} }, /TypeError: .*mode of .*"x.example".*received undefined/],
      [{ ...pem(two), clientCertificates: { ...require, verifyTimeoutMs: -1 } }, /RangeError: .*received -1/],
      [
        { ...pem(two), clientCertificates: { mode: 'require', caFile: 'x' } },
        /TypeError: .*take "ca" and "crl", not files/,
      ],
      [
        { ...pem(two), clientCertificate: 'none' },
        /TypeError: .*'clientCertificate'.*did you mean "clientCertificates"/,
      ],
      ['PEM', /TypeError: Expected \{ cert, key \} of loadCertificate for "x.example", received 'PEM'/],
      [
        { ...pem(two), alpnProtocols: ['x'] },
        /TypeError: "alpnProtocols" of .* needs .*perNamePolicies: true/,
        {},
      ],
    ]
    for (const [loaded, reason, runtime] of wrong) {
      reasons.length = 0
      await using service = await TlsService.start(
        {
          ...pem(one),
          loadCertificate: () => loaded as LoadedCertificate,
          runtimeCertificates: runtime ?? runtimeCertificates,
        },
        logger,
      )
      expect(await service.nameServed('x.example')).toBe('refused')
      expect(reasons.join()).toMatch(reason)
      expect(service.service.counters.handshakeFailedCount).toBe(1)
    }
    const odd = TlsService.start({
      ...pem(one),
      loadCertificate: () => undefined,
      runtimeCertificates: { perNamePolicies: 1 as never },
    })
    await expect(odd).rejects.toThrow('perNamePolicies to be true or false, received 1')
  })

  test('absentMs 0 asks once for each handshake; a client that leaves meanwhile harms nobody', async () => {
    const asked: string[] = []
    const gate = Promise.withResolvers<undefined>()
    await using service = await start({
      loadCertificate: (name) => {
        asked.push(name)
        return name === 'slow.example' ? gate.promise : undefined
      },
      runtimeCertificates: { ...runtimeCertificates, absentMs: 0 },
    })
    expect(await service.nameServed('a.example')).toBe('one')
    expect(await service.nameServed('a.example')).toBe('one')
    expect(asked).toEqual(['a.example', 'a.example'])
    const leaving = connect({ host: '127.0.0.1', port: service.port, servername: 'slow.example' })
    leaving.on('error', () => undefined)
    while (asked.length < 3) await new Promise((resolve) => setImmediate(resolve))
    const waiting = service.nameServed('slow.example')
    leaving.destroy()
    await once(leaving, 'close')
    expect(await service.nameServed('a.example')).toBe('one') // nobody waits for the slow one
    gate.resolve(undefined)
    expect(await waiting).toBe('one')
  })
})
