import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

/** Answers with its name and the body it got. */
function named(name: string): Promise<TestUpstream> {
  return TestUpstream.start(async (incoming, response) => {
    let body = ''
    for await (const chunk of incoming.setEncoding('utf8')) body += chunk
    response.end(`${name} got ${body}`)
  })
}

test('chooses the peer by the field, and the body arrives there byte for byte', async () => {
  await using small = await named('small')
  await using large = await named('large')
  await using proxy = new ExampleProcess('body-routing', [
    ...['--ba', '127.0.0.1:0', '--route', `a=${small.address}`, '--route', `b=c=${large.address}`],
  ])
  const address = await proxy.address()
  for (const [name, value] of [
    ['small', 'a'],
    ['large', 'b=c'],
  ]) {
    const body = `{ "text": "grüezi", "model" : "${value}" }\n`
    expect((await request(address, '/', { body })).body).toBe(`${name} got ${body}`)
  }
  // Node.js sends a body without a length in chunks.
  const chunked = { body: '{"model":"a"}', headers: { 'Transfer-Encoding': 'chunked' } }
  expect((await request(address, '/', chunked)).body).toBe('small got {"model":"a"}')
})

test('--field names the member that decides', async () => {
  await using upstream = await named('one')
  await using proxy = new ExampleProcess('body-routing', [
    ...['--ba', '127.0.0.1:0', '--field', 'tenant', '--route', `t1=${upstream.address}`],
  ])
  const address = await proxy.address()
  expect((await request(address, '/', { body: '{"tenant":"t1"}' })).status).toBe(200)
  expect(await request(address, '/', { body: '{"model":"t1"}' })).toMatchObject({
    status: 404,
    body: 'Nobody serves this "tenant"\n',
  })
})

test('a body up to the limit is routed, whatever its size; beyond it is 413', async () => {
  await using upstream = await named('one')
  await using proxy = new ExampleProcess('body-routing', [
    ...['--ba', '127.0.0.1:0', '--route', `a=${upstream.address}`],
  ])
  const address = await proxy.address()
  const ofBytes = (bytes: number) => `{"model":"a","x":"${'y'.repeat(bytes - 20)}"}`
  expect(ofBytes(262_144)).toHaveLength(262_144)
  for (const bytes of [262_143, 262_144]) {
    expect((await request(address, '/', { body: ofBytes(bytes) })).body).toBe(`one got ${ofBytes(bytes)}`)
  }
  const headers = { 'Transfer-Encoding': 'chunked' }
  for (const init of [{}, { headers }]) {
    expect((await request(address, '/', { body: ofBytes(262_145), ...init })).status).toBe(413)
  }
  expect(upstream.requestCount).toBe(2)
})

test('what is no JSON is 400, and what has no route 404; neither reaches a peer', async () => {
  await using upstream = await named('one')
  await using proxy = new ExampleProcess('body-routing', [
    ...['--ba', '127.0.0.1:0', '--route', `a=${upstream.address}`],
  ])
  const address = await proxy.address()
  for (const body of ['', '{"model":', 'a', '{"model":"a"} ,']) {
    expect((await request(address, '/', { body })).status, body).toBe(400)
  }
  for (const body of [
    'null',
    '1',
    '[]',
    '"a"',
    '{}',
    '{"model":1}',
    '{"model":["a"]}',
    '{"__proto__":{"model":"a"}}',
  ]) {
    expect((await request(address, '/', { body })).status, body).toBe(404)
  }
  expect((await request(address, '/')).status).toBe(400)
  expect(upstream.requestCount).toBe(0)
})
