import { once } from 'node:events'
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeCertificate, type TestCertificate } from '../../../packages/core/test/support/certificates.ts'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cirque-gateway-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function put(name: string, { cert, key }: TestCertificate): void {
  for (const [extension, pem] of Object.entries({ key, pem: cert })) {
    writeFileSync(join(folder, `${name}.${extension}.new`), pem)
    renameSync(join(folder, `${name}.${extension}.new`), join(folder, `${name}.${extension}`))
  }
}

/** What a client sees: the name in the certificate, and the upstream's answer. */
async function ask(address: string, servername: string): Promise<readonly [name: string, body: string]> {
  const [host, port] = address.split(':')
  const outgoing = request({ host, port, servername, agent: false, rejectUnauthorized: false })
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const name = (response.socket as TLSSocket).getPeerCertificate().subject.CN
  let body = ''
  for await (const chunk of response.setEncoding('utf8')) body += chunk
  return [String(name), body]
}

test('each name gets its certificate; files that are replaced or added are found', async () => {
  cpSync(join(import.meta.dirname, 'data'), folder, { recursive: true })
  put('a.example', makeCertificate({ name: 'first' }))
  put('_.a.example', makeCertificate({ name: 'wild' }))
  await using upstream = await TestUpstream.start((incoming, response) =>
    response.end(`${incoming.headers['x-forwarded-proto']} ${incoming.headers['x-tls']}`),
  )
  const argv = ['--certs', folder, '--ba', '127.0.0.1:0', '--ba', '127.0.0.1:0', '--pa', upstream.address]
  await using gateway = new ExampleProcess('tls-gateway', argv)
  for (const index of [0, 1]) {
    const address = await gateway.address('gateway', index)
    expect(await ask(address, 'a.example')).toEqual(['first', 'https TLSv1.3 a.example'])
    expect(await ask(address, 'b.a.example')).toEqual(['wild', 'https TLSv1.3 b.a.example'])
    expect(await ask(address, 'other.example')).toEqual(['localhost', 'https TLSv1.3 other.example'])
  }
  put('a.example', makeCertificate({ name: 'second' }))
  put('new.example', makeCertificate({ name: 'added' }))
  await gateway.output(/Certificate reloaded[\s\S]*Certificate reloaded/) // one line per listener
  for (const index of [0, 1]) {
    const address = await gateway.address('gateway', index)
    expect((await ask(address, 'a.example'))[0]).toBe('second')
    expect((await ask(address, 'new.example'))[0]).toBe('added')
  }
})
