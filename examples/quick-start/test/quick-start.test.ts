import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeCertificate } from '../../../packages/core/test/support/certificates.ts'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'
import { root } from '../../../scripts/workspace.ts'

const listening = ['--ba', '127.0.0.1:0']

test('goes round its upstreams over TLS, and they serve it', async () => {
  await using balancer = new ExampleProcess('quick-start', listening)
  const address = await balancer.address('balancer')
  const answers = []
  for (let i = 0; i < 4; i++) answers.push((await request(address, '/')).body)
  expect(new Set(answers)).toEqual(new Set(['hello from upstream 1\n', 'hello from upstream 2\n']))
  expect(answers.slice(0, 2)).toEqual(answers.slice(2))
})

test('without the Host that they know the upstreams answer 403', async () => {
  await using balancer = new ExampleProcess('quick-start', [...listening, '--keep-host'])
  const address = await balancer.address('balancer')
  const { status, body } = await request(address, '/')
  expect([status, body]).toEqual([
    403,
    expect.stringMatching(/^upstream [12] does not know 127\.0\.0\.1:\d+\n$/),
  ])
})

test('an upstream whose certificate is for another name is not used', async () => {
  await using upstream = await TestUpstream.start((_request, response) => response.end('reached'), {
    tls: makeCertificate({ dnsNames: ['b.example'] }),
  })
  const argv = [...listening, '--upstream', upstream.address, '--host', 'a.example']
  await using balancer = new ExampleProcess('quick-start', argv)
  expect((await request(await balancer.address('balancer'), '/')).status).toBe(502)
  expect(upstream.requestCount).toBe(0)
})

test('the first code of the README does the same, as it stands there', async () => {
  const identity = makeCertificate({ name: 'authority', dnsNames: ['one.one.one.one'], isAuthority: true })
  const start = (name: string) =>
    TestUpstream.start(
      (incoming, response) => {
        response.statusCode = incoming.headers.host === 'one.one.one.one' ? 200 : 403
        response.end(name)
      },
      { tls: identity },
    )
  await using first = await start('first')
  await using second = await start('second')
  const [code] = /(?<=^```ts\n)[\s\S]*?(?=^```$)/m.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? []
  const local = (code ?? '')
    .replace('1.1.1.1:443', first.address)
    .replace('1.0.0.1:443', second.address)
    .replace('127.0.0.1:6188', '127.0.0.1:0')
  // Beside the packages that it imports.
  const folder = mkdtempSync(join(import.meta.dirname, '.tmp-'))
  const file = join(folder, 'readme.ts')
  const authority = join(folder, 'authority.pem')
  writeFileSync(file, local)
  writeFileSync(authority, identity.cert)
  const { NODE_OPTIONS: _options, FORCE_COLOR: _color, ...env } = process.env
  const child = spawn(process.execPath, ['--conditions=@cirque/source', file], {
    env: { ...env, NODE_EXTRA_CA_CERTS: authority },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  try {
    let log = ''
    let address: string | undefined
    for await (const text of child.stderr.setEncoding('utf8')) {
      log += text
      address = / address=(127\.0\.0\.1:\d+)/.exec(log)?.[1]
      if (address !== undefined) break
    }
    expect(address, log).toBeDefined()
    const answers = []
    for (let i = 0; i < 2; i++) answers.push((await request(address as string, '/')).body)
    expect(answers.sort()).toEqual(['first', 'second'])
  } finally {
    child.kill('SIGKILL')
    await once(child, 'close')
    rmSync(folder, { recursive: true })
  }
})
