import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream, unusedAddress } from '../../../scripts/test-support/test-upstream.ts'

const listening = ['--ba', '127.0.0.1:0']

test('goes round its demo upstreams, and says where each request went', async () => {
  await using balancer = new ExampleProcess('load-balancer', [...listening, '--switch', '0'])
  const address = await balancer.address()
  const answers = new Set<string>()
  for (let i = 0; i < 6; i++) answers.add((await request(address, '/')).body)
  expect([...answers].sort()).toEqual([1, 2, 3].map((n) => `hello from upstream ${n}\n`))
  await balancer.output(/GET \/ -> upstream [123], 1 attempt, 200, [\d.]+ ms\n/)
  expect((await balancer.stop()).status).toBe(0)
})

test('while an upstream is off, its requests go to the others and none is lost; then it is back', async () => {
  await using balancer = new ExampleProcess('load-balancer', [...listening, '--switch', '1'])
  const address = await balancer.address()

  // The requests that come before the health check knows are the ones that fail over. In the rare case that
  // the check is first, the upstream goes off again.
  for (let times = 1; !/, 2 attempts, 200/.test(balancer.stdout); times++) {
    await balancer.output(new RegExp(`(?:is switched off[^]*){${times}}`))
    const replies = await Promise.all(Array.from({ length: 40 }, () => request(address, '/')))
    for (const { status, body } of replies) {
      expect(status).toBe(200)
      expect(body).toMatch(/^hello from upstream [12]\n$/)
    }
  }
  expect(balancer.stdout).toMatch(/GET \/ -> upstream [12], 2 attempts, 200/)

  await balancer.output(/upstream 3 \(.*\) is on again/)
  let body = ''
  while (!body.includes('upstream 3')) body = (await request(address, '/')).body
})

test('--upstream: fails over to the one that answers, and says so', async () => {
  await using good = await TestUpstream.saying('good')
  const upstreams = [await unusedAddress(), good.address].flatMap((each) => ['--upstream', each])
  await using balancer = new ExampleProcess('load-balancer', [...listening, ...upstreams])
  const address = await balancer.address()
  for (let i = 0; i < 4; i++) expect((await request(address, '/x?y')).body).toBe('good')
  await balancer.output(new RegExp(`GET /x -> ${good.address}, \\d attempts?, 200`))
})

test('without a living upstream the answer is 502 or 503, and it is logged', async () => {
  await using balancer = new ExampleProcess('load-balancer', [
    ...listening,
    '--upstream',
    await unusedAddress(),
  ])
  const { status } = await request(await balancer.address(), '/')
  expect([502, 503]).toContain(status)
  await balancer.output(/, (502|503), [\d.]+ ms \([A-Z_]+\)/)
})
