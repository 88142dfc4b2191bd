import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

function limiter(upstream: TestUpstream, ...argv: string[]): ExampleProcess {
  const ba = ['--ba', '127.0.0.1:0', '--pa', upstream.address]
  return new ExampleProcess('rate-limiter', [...ba, '--limit', '2', '--window', '3600', ...argv])
}

test('counts down, then answers 429 and says when to come back', async () => {
  await using upstream = await TestUpstream.saying('served')
  await using proxy = limiter(upstream)
  const address = await proxy.address()
  const headers = { appid: 'one' }
  for (const remaining of ['1', '0']) {
    const reply = await request(address, '/', { headers })
    expect(reply).toMatchObject({ status: 200, body: 'served' })
    expect(reply.headers).toMatchObject({ 'x-rate-limit-limit': '2', 'x-rate-limit-remaining': remaining })
    expect(reply.headers['retry-after']).toBeUndefined()
  }
  const refused = await request(address, '/', { headers })
  expect(refused).toMatchObject({ status: 429, body: 'Too many requests\n' })
  expect(refused.headers).toMatchObject({ 'x-rate-limit-limit': '2', 'x-rate-limit-remaining': '0' })
  // The quota comes back evenly: one of two in half of the window, less the time this test has taken.
  for (const name of ['retry-after', 'x-rate-limit-reset']) {
    const seconds = Number(refused.headers[name])
    expect(seconds).toBeGreaterThan(1_700)
    expect(seconds).toBeLessThanOrEqual(1_800)
  }
  expect(refused.headers['ratelimit-policy']).toBe('"default";q=2;w=3600')
  expect(upstream.requestCount).toBe(2)
})

test('counts each appid by itself, in the header and in the query alike', async () => {
  await using upstream = await TestUpstream.saying('served')
  await using proxy = limiter(upstream)
  const address = await proxy.address()
  const statusOf = async (target: string, appid?: string) =>
    (await request(address, target, appid === undefined ? {} : { headers: { AppID: appid } })).status

  expect(await statusOf('/', 'a')).toBe(200)
  expect(await statusOf('/?x=1&appid=a')).toBe(200)
  expect(await statusOf('/?appid=%61')).toBe(429)
  expect(await statusOf('/', 'a')).toBe(429)
  expect(await statusOf('/', 'b')).toBe(200)
  expect(await statusOf('/?appid=c')).toBe(200)
})

test('without an appid the address counts, which nobody else can use up', async () => {
  await using upstream = await TestUpstream.saying('served')
  await using proxy = limiter(upstream)
  const address = await proxy.address()
  for (let i = 0; i < 4; i++) await request(address, '/', { headers: { appid: '127.0.0.1' } })
  const statuses: number[] = []
  for (let i = 0; i < 3; i++) statuses.push((await request(address, i === 1 ? '/?appid=' : '/')).status)
  expect(statuses).toEqual([200, 200, 429])
})

test('what it says replaces what the upstream says of it', async () => {
  await using upstream = await TestUpstream.start((_request, response) => {
    response.writeHead(200, { 'X-Rate-Limit-Limit': 'mine' }).end()
  })
  await using proxy = limiter(upstream)
  expect((await request(await proxy.address(), '/')).headers['x-rate-limit-limit']).toBe('2')
})

test('the quota comes back', async () => {
  await using upstream = await TestUpstream.saying('served')
  await using proxy = limiter(upstream, '--limit', '4', '--window', '1')
  const address = await proxy.address()
  let status = 200
  while (status === 200) status = (await request(address, '/')).status
  expect(status).toBe(429)
  while (status === 429) status = (await request(address, '/')).status
  expect(status).toBe(200)
})

test('threads count together: the limit is one for all of them, also while they are asked at once', async () => {
  await using upstream = await TestUpstream.saying('served')
  await using proxy = limiter(upstream, '--limit', '5', '--threads', '3')
  const address = await proxy.address('limiter')
  // Each request on a connection of its own, so that all threads get some.
  const replies = await Promise.all(
    Array.from({ length: 60 }, () => request(address, '/', { headers: { appid: 'one' } })),
  )
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(5)
  expect(replies.filter(({ status }) => status === 429)).toHaveLength(55)
  expect(upstream.requestCount).toBe(5)
  expect((await proxy.stop()).status).toBe(0)
})
