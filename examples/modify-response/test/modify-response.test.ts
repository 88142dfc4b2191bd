import type { RequestListener } from 'node:http'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

const json = { 'Content-Type': 'application/json' }

function masker(upstream: TestUpstream, ...argv: string[]): ExampleProcess {
  return new ExampleProcess('modify-response', ['--ba', '127.0.0.1:0', '--pa', upstream.address, ...argv])
}

function answering(body: string, headers: Record<string, string> = json): RequestListener {
  return (_incoming, response) =>
    response.writeHead(200, { 'Content-Length': Buffer.byteLength(body), ...headers }).end(body)
}

test('hides members at any depth, and the framing is right for the new length', async () => {
  const body = JSON.stringify({ name: 'grüezi', secret: 1, list: [{ SECRET: { a: 'very long' } }, 2] })
  await using upstream = await TestUpstream.start(answering(body, { ...json, ETag: '"of the old body"' }))
  await using proxy = masker(upstream, '--hide', 'Secret')
  const reply = await request(await proxy.address(), '/')
  expect(reply.body).toBe('{"name":"grüezi","secret":"***","list":[{"SECRET":"***"},2]}')
  expect(reply.headers['content-length']).toBeUndefined()
  expect(reply.headers['transfer-encoding']).toBe('chunked')
  expect(reply.headers.etag).toBeUndefined()
})

test('reads a body that comes in pieces, cut anywhere', async () => {
  const bytes = Buffer.from('{"cookie": "a", "text": "grüezi"}')
  await using upstream = await TestUpstream.start(async (_incoming, response) => {
    response.writeHead(200, json)
    for (const byte of bytes) {
      response.write(Buffer.of(byte))
      await new Promise(setImmediate)
    }
    response.end()
  })
  await using proxy = masker(upstream)
  expect((await request(await proxy.address(), '/')).body).toBe('{"cookie":"***","text":"grüezi"}')
})

test('asks for the whole body and no compression', async () => {
  await using upstream = await TestUpstream.start((incoming, response) => {
    const { range, 'accept-encoding': encoding } = incoming.headers
    response.writeHead(200, json).end(JSON.stringify({ range: range ?? null, encoding }))
  })
  await using proxy = masker(upstream)
  const headers = { Range: 'bytes=1-2', 'Accept-Encoding': 'gzip, br' }
  const { body } = await request(await proxy.address(), '/', { headers })
  expect(JSON.parse(body)).toEqual({ range: null, encoding: 'identity' })
})

test('leaves everything else as it is, and answers without a body too', async () => {
  await using upstream = await TestUpstream.start((incoming, response) => {
    if (incoming.url === '/text')
      answering('{"cookie":1}', { 'Content-Type': 'text/plain' })(incoming, response)
    else if (incoming.url === '/empty') response.writeHead(204, json).end()
    else answering('{"cookie":1}')(incoming, response)
  })
  await using proxy = masker(upstream)
  const address = await proxy.address()
  expect((await request(address, '/text')).body).toBe('{"cookie":1}')
  expect((await request(address, '/empty')).status).toBe(204)
  const head = await request(address, '/', { method: 'HEAD' })
  expect(head).toMatchObject({ status: 200, body: '' })
  expect(head.headers['content-length']).toBeUndefined()
  expect((await request(address, '/')).body).toBe('{"cookie":"***"}')
})

test('what cannot be read does not get out: 502 before the head, a cut connection after it', async () => {
  const secret = '"cookie": "the secret"'
  await using upstream = await TestUpstream.start((incoming, response) => {
    if (incoming.url === '/broken') answering(`{${secret}`)(incoming, response)
    else if (incoming.url === '/long')
      answering(`{${secret}, "x": "${'x'.repeat(1_048_576)}"}`)(incoming, response)
    else if (incoming.url === '/deep')
      answering('['.repeat(100_000) + ']'.repeat(100_000))(incoming, response)
    else answering(secret, { ...json, 'Content-Encoding': 'gzip' })(incoming, response)
  })
  await using proxy = masker(upstream)
  const address = await proxy.address()
  expect(await request(address, '/compressed')).toMatchObject({ status: 502, body: '' })
  for (const target of ['/broken', '/long']) {
    await expect(request(address, target)).rejects.toMatchObject({ code: 'ECONNRESET' })
  }
  await request(address, '/deep').catch(() => undefined) // rewritten or cut, as the stack allows
  expect((await request(address, '/compressed')).status).toBe(502) // and it still serves
  await proxy.output(/is no JSON/)
  await proxy.output(/exceeds 1048576 bytes/)
})
