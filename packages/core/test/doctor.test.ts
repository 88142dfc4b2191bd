import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { examineConfiguration } from '../src/doctor/files.ts'
import { examineConnectionsMax } from '../src/doctor/listening.ts'
import { examineMachine, type MachineFacts } from '../src/doctor/machine.ts'
import {
  type ConfigurationInput,
  createConfiguration,
  DOCTOR_CHECKS,
  type DoctorFinding,
  doctorReport,
  ListeningService,
  Server,
  type TlsListenerOptions,
} from '../src/index.ts'
import { makeCertificate } from './support/certificates.ts'
import { Program } from './support.ts'

const folder = mkdtempSync(join(import.meta.dirname, '.tmp-doctor-'))
afterAll(() => rmSync(folder, { recursive: true }))

const app = { onConnection: () => {}, startDraining: () => {} }
const codes = (findings: readonly DoctorFinding[]): string[] =>
  findings.map(({ code, level }) => `${level} ${code}`)

const HEALTHY: MachineFacts = {
  nodeVersion: '26.12.1',
  fileDescriptorsMax: 65_536,
  environment: {},
  nowMs: Date.UTC(2026, 10, 1),
  somaxconn: 4_096,
  movesSockets: true,
  userId: 1_000,
}

describe('the machine', () => {
  const configuration = createConfiguration()

  test.each<[MachineFacts, string]>([
    [{ nodeVersion: '26.12.0' }, 'error NODE_VERSION'],
    [{ environment: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } }, 'error TLS_UNVERIFIED'],
    [{ fileDescriptorsMax: 1_024 }, 'warning FILE_DESCRIPTORS'],
    [{ nowMs: 0 }, 'error CLOCK'],
    [{ somaxconn: 128 }, 'warning SOMAXCONN'],
    [{ movesSockets: false }, 'warning SOCKET_TRANSFER'],
    [{ inspectorUrl: 'ws://0.0.0.0:9229/a' }, 'error INSPECTOR'],
    [{ userId: 0 }, 'warning ROOT'],
  ])('%j gives %s', (facts, expected) => {
    expect(codes(examineMachine(configuration, { ...HEALTHY, ...facts }))).toEqual([expected])
  })

  test('what is said depends on the configuration and the address, and nothing is of a healthy one', () => {
    expect(examineMachine(configuration, HEALTHY)).toEqual([])
    for (const inspectorUrl of ['ws://127.0.0.1:9229/a', 'ws://[::1]:9229/a', 'ws://localhost:9229/a']) {
      expect(examineMachine(configuration, { ...HEALTHY, inspectorUrl })).toEqual([])
    }
    const threads = examineMachine(createConfiguration({ threads: 2 }), { ...HEALTHY, movesSockets: false })
    expect(codes(threads)).toEqual(['error SOCKET_TRANSFER'])
    const dropped = createConfiguration({ user: 'web', group: 'web' })
    expect(examineMachine(dropped, { ...HEALTHY, userId: 0 })).toEqual([])
  })

  test('this runtime moves sockets: the probe sees it', () => {
    const { movesSockets: _, ...facts } = HEALTHY
    expect(examineMachine(configuration, facts)).toEqual([])
  })
})

describe('the configuration', () => {
  test('folders in which everybody may write', () => {
    const open = join(folder, 'open')
    const sticky = join(folder, 'sticky')
    const own = join(folder, 'own')
    for (const path of [open, sticky, own]) mkdirSync(path)
    chmodSync(open, 0o777)
    chmodSync(sticky, 0o1777)
    chmodSync(own, 0o700)
    const at = (path: string): string[] => {
      const files = { upgradeSock: join(path, 'upgrade.sock'), pidFile: join(path, 'pid') }
      return codes(examineConfiguration(createConfiguration(files), undefined))
    }
    expect(at(open)).toEqual(['error UPGRADE_SOCK', 'error FOLDERS'])
    expect(at(sticky)).toEqual(['warning UPGRADE_SOCK', 'warning FOLDERS'])
    expect(at(own)).toEqual([])
    expect(at(join(folder, 'missing'))).toEqual(['error UPGRADE_SOCK', 'error FOLDERS'])
  })

  test('a file that others may change', () => {
    const file = join(folder, 'conf.yaml')
    writeFileSync(file, '')
    const said = (mode: number): string[] => {
      chmodSync(file, mode)
      return codes(examineConfiguration(createConfiguration(), file))
    }
    expect(said(0o666)).toEqual(['error CONFIGURATION_FILE'])
    expect(said(0o664)).toEqual(['warning CONFIGURATION_FILE'])
    expect(said(0o644)).toEqual([])
  })

  test('no grace, a missing working directory, secrets in a file', () => {
    const bad = createConfiguration({
      gracePeriodSeconds: 0,
      workingDirectory: join(folder, 'missing'),
      upstreamDebugSslKeylog: true,
    })
    const findings = examineConfiguration(bad, undefined, { SSLKEYLOGFILE: '/tmp/keys' })
    expect(codes(findings)).toEqual(['error FOLDERS', 'warning GRACE_PERIOD', 'warning KEYLOG'])
  })
})

test('listener_reuse_port where worker threads could not bind', () => {
  const said = (more: ConfigurationInput): string[] =>
    codes(examineConfiguration(createConfiguration({ listenerReusePort: true, ...more }), undefined))
  const web = { user: 'web', group: 'web' }
  expect(said({ threads: 2, ...web })).toEqual(['error REUSE_PORT'])
  expect(said({ threads: 'auto', ...web })).toEqual(['error REUSE_PORT'])
  expect(said({ threads: 2 })).toEqual([])
  expect(said({ threads: 1, ...web })).toEqual([])
})

describe('a service', () => {
  const keyFile = join(folder, 'key.pem')
  const certFile = join(folder, 'cert.pem')

  /** What is said of a listener whose certificate is valid for so many days. */
  function said(fromDays: number, toDays: number, mode = 0o600, options: TlsListenerOptions = {}): string[] {
    const { cert, key } = makeCertificate({ dnsNames: ['a.example'], fromDays, toDays })
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
    chmodSync(keyFile, mode)
    const service = new ListeningService('web', app, { connectionsMax: 10 })
    service.addTls('127.0.0.1:0', { certFile, keyFile, ...options })
    return codes(service.examine())
  }

  test('certificates: expired, soon to, not yet valid', () => {
    expect(said(-1, 15)).toEqual([])
    expect(said(-1, 13)).toEqual(['warning CERTIFICATE'])
    expect(said(-20, -1)).toEqual(['error CERTIFICATE'])
    expect(said(2, 20)).toEqual(['error CERTIFICATE'])
  })

  test('a key that everybody can read, ticket keys that are text', () => {
    expect(said(-1, 30, 0o644)).toEqual(['warning KEY_FILE'])
    const text = Buffer.from('0123456789abcdef'.repeat(3))
    expect(said(-1, 30, 0o600, { ticketKeys: text })).toEqual(['error TICKET_KEYS'])
    expect(said(-1, 30, 0o600, { ticketKeys: randomBytes(48) })).toEqual([])
  })

  test('authorities of clients: expired, soon to; each once, whatever asks for them', () => {
    const authority = (toDays: number) =>
      makeCertificate({ name: 'ca', isAuthority: true, fromDays: -9, toDays })
    const asked = (...toDays: number[]) => {
      const ca = toDays.map((days) => authority(days).cert)
      const clientCertificates = { mode: 'require', ca } as const
      const { cert, key } = makeCertificate({ dnsNames: ['b.example'] })
      return said(-1, 30, 0o600, { clientCertificates, certificates: [{ cert, key, clientCertificates }] })
    }
    expect(asked(30, 15)).toEqual([])
    expect(asked(30, 13)).toEqual(['warning CLIENT_AUTHORITIES'])
    expect(asked(-1, 1)).toEqual(['error CLIENT_AUTHORITIES', 'warning CLIENT_AUTHORITIES'])
  })

  test('certificates by name are looked at, too', () => {
    const { cert, key } = makeCertificate({ dnsNames: ['b.example'], toDays: 3 })
    expect(said(-1, 30, 0o600, { certificates: [{ cert, key }] })).toEqual(['warning CERTIFICATE'])
  })

  test('PROXY protocol from anybody, but not on this machine', () => {
    const service = new ListeningService('web', app, { connectionsMax: 10 })
    const proxyProtocol = { trusted: 'any' } as const
    service.addTcp('127.0.0.1:0', { proxyProtocol })
    service.addTcp('0.0.0.0:0', { proxyProtocol: { trusted: ['10.0.0.0/8'] } })
    expect(service.examine()).toEqual([])
    service.addTcp('0.0.0.0:0', { proxyProtocol })
    expect(codes(service.examine())).toEqual(['warning PROXY_PROTOCOL'])
  })

  test('caps above the limit of open files', () => {
    expect(codes(examineConnectionsMax('web', 1_000, 1_099))).toEqual(['error CONNECTIONS_MAX'])
    expect(codes(examineConnectionsMax('web', 1_000, 1_100))).toEqual(['warning CONNECTIONS_MAX'])
    expect(examineConnectionsMax('web', 1_000, 2_100)).toEqual([])
    expect(examineConnectionsMax('web', 1_000, undefined)).toEqual([])
  })
})

test('the report has a line for each check, and counts', () => {
  const findings: DoctorFinding[] = [
    { code: 'CLOCK', level: 'error', message: 'The clock says 1970' },
    { code: 'CERTIFICATE', level: 'warning', message: 'one' },
    { code: 'CERTIFICATE', level: 'warning', message: 'two' },
  ]
  const lines = doctorReport(findings).trimEnd().split('\n')
  expect(lines).toHaveLength(Object.keys(DOCTOR_CHECKS).length + 2)
  expect(lines).toContain('error    CLOCK: The clock says 1970')
  expect(lines).toContain('warning  CERTIFICATE: two')
  expect(lines).toContain('ok       ROOT: the process gives up root')
  expect(lines.at(-1)).toBe('1 error, 2 warnings')
})

test('--doctor starts nothing, prints, and tells with its exit status whether there are errors', async () => {
  const file = join(folder, 'program.yaml')
  writeFileSync(file, `pid_file: ${join(folder, 'missing', 'pid')}\n`)
  await using bad = new Program('echo-server.ts', ['--doctor', '-c', file])
  expect(await bad.exited).toEqual([1, null])
  expect(bad.output).toMatch(/^error {4}FOLDERS: pid_file: there is no folder /m)
  expect(bad.log).not.toContain('Listening')
  await using good = new Program('echo-server.ts', ['--doctor'])
  const [status] = await good.exited
  expect(good.output).toContain('ok       FOLDERS')
  expect(status).toBe(/^error/m.test(good.output) ? 1 : 0)
  const server = new Server({ argv: ['--doctor'] })
  await expect(server.run()).rejects.toThrow('--doctor')
})

test('examine() asks every service', () => {
  const server = new Server({ argv: false })
  server.addService({
    name: 'own',
    start: () => {},
    drain: () => Promise.resolve(),
    destroy: () => {},
    examine: () => [{ code: 'TICKET_KEYS', level: 'error', message: 'mine' }],
  })
  expect(server.examine()).toContainEqual({ code: 'TICKET_KEYS', level: 'error', message: 'mine' })
})

test('docs/user-guide/doctor.md has a row for each check, in order', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/user-guide/doctor.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1])
  expect(rows).toEqual(Object.keys(DOCTOR_CHECKS))
})
