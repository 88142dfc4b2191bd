import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream, unusedAddress } from '../../../scripts/test-support/test-upstream.ts'

function retrier(peers: readonly string[], ...argv: string[]): ExampleProcess {
  const pa = peers.flatMap((peer) => ['--pa', peer])
  return new ExampleProcess('retry-backoff', ['--ba', '127.0.0.1:0', '--backoff', '20', ...pa, ...argv])
}

function failing(status: number): Promise<TestUpstream> {
  return TestUpstream.start((_request, response) => response.writeHead(status).end('no'))
}

test('goes on to the next peer, and tells each attempt', async () => {
  const dead = await unusedAddress()
  await using busy = await failing(503)
  await using good = await TestUpstream.saying('at last')
  await using proxy = retrier([dead, busy.address, good.address])
  const { status, body } = await request(await proxy.address(), '/story')
  expect({ status, body }).toEqual({ status: 200, body: 'at last' })
  const story = await proxy.output(/GET \/story: .*\n.*\n.*\n.*answered 200\n/)
  expect(story[0].replace(/[\d.]+ ms/g, 'T')).toBe(
    `GET /story: 200 after 3 attempts, T\n` +
      `  at T: ${dead} failed: CONNECT_REFUSED\n` +
      `  at T: ${busy.address} answered 503\n` +
      `  at T: ${good.address} answered 200\n`,
  )
})

test('waits longer before each retry but the first', async () => {
  await using busy = await failing(503)
  await using proxy = retrier([busy.address], '--backoff', '40', '--tries', '5')
  expect((await request(await proxy.address(), '/')).status).toBe(503)
  const [story] = await proxy.output(/after 5 attempts.*\n(?:.*answered 503\n){5}/)
  const starts = [...(story as string).matchAll(/at ([\d.]+) ms/g)].map((match) => Number(match[1]))
  const waits = starts.slice(1).map((start, index) => start - (starts[index] as number))
  // 0, 40, 80 and 160 ms, of which up to half is left to chance; timers may be late and never are early.
  for (const [index, least] of [0, 20, 40, 80].entries()) {
    expect(waits[index], `wait ${index + 1} of ${waits}`).toBeGreaterThanOrEqual(least - 1)
  }
})

test('the last answer of an upstream stands when no attempt is left', async () => {
  await using busy = await failing(503)
  await using broken = await failing(502)
  await using proxy = retrier([busy.address, broken.address], '--tries', '2')
  expect(await request(await proxy.address(), '/')).toMatchObject({ status: 502, body: 'no' })
})

test('a POST moves on while nothing was sent, and not after', async () => {
  const dead = await unusedAddress()
  await using busy = await failing(503)
  await using good = await TestUpstream.saying('good')
  await using first = retrier([dead, good.address])
  expect((await request(await first.address(), '/', { body: 'order' })).body).toBe('good')
  await using second = retrier([busy.address, good.address])
  expect((await request(await second.address(), '/', { body: 'order' })).status).toBe(503)
  expect({ busy: busy.requestCount, good: good.requestCount }).toEqual({ busy: 1, good: 1 })
})

test('a connection that breaks after the request: a GET is sent again', async () => {
  await using rude = await TestUpstream.start((incoming) => incoming.socket.destroy())
  await using good = await TestUpstream.saying('good')
  await using proxy = retrier([rude.address, good.address])
  expect((await request(await proxy.address(), '/')).body).toBe('good')
  await proxy.output(new RegExp(`${rude.address} failed: [A-Z_]+\\n.*${good.address} answered 200`))
})

test('past the deadline no attempt begins', async () => {
  await using slow = await TestUpstream.start((incoming) => {
    setTimeout(() => incoming.socket.destroy(), 100)
  })
  await using good = await TestUpstream.saying('too late')
  await using proxy = retrier([slow.address, good.address], '--deadline', '50')
  expect((await request(await proxy.address(), '/')).status).toBe(502)
  expect(good.requestCount).toBe(0)
  await proxy.output(/: 502 after 1 attempt, /)
})
