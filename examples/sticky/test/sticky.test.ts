import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

function sticky(...upstreams: TestUpstream[]): ExampleProcess {
  const pa = upstreams.flatMap(({ address }) => ['--pa', address])
  return new ExampleProcess('sticky', ['--ba', '127.0.0.1:0', ...pa])
}

/** The name and value of the cookie that a reply sets. */
function cookieOf(setCookie: readonly string[] | undefined): string {
  expect(setCookie).toHaveLength(1)
  expect(setCookie?.[0]).toMatch(/^cirque_backend=[\w.-]+; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/)
  return setCookie?.[0]?.split(';')[0] as string
}

test('a client with the cookie stays; one without goes round', async () => {
  await using a = await TestUpstream.saying('a')
  await using b = await TestUpstream.saying('b')
  await using c = await TestUpstream.saying('c')
  await using proxy = sticky(a, b, c)
  const address = await proxy.address()
  const met = new Set<string>()
  for (let client = 0; client < 3; client++) {
    const first = await request(address, '/')
    met.add(first.body)
    const headers = { Cookie: `theme=dark; ${cookieOf(first.headers['set-cookie'])}; x=y` }
    for (let i = 0; i < 4; i++) {
      const next = await request(address, '/', { headers })
      expect(next.body).toBe(first.body)
      expect(next.headers['set-cookie']).toBeUndefined()
    }
  }
  expect([...met].sort()).toEqual(['a', 'b', 'c'])
})

test('a client whose upstream goes down moves on in the same request, and stays where it is then', async () => {
  await using a = await TestUpstream.saying('a')
  await using b = await TestUpstream.saying('b')
  await using proxy = sticky(a, b)
  const address = await proxy.address()
  const first = await request(address, '/')
  const headers = { Cookie: cookieOf(first.headers['set-cookie']) }
  await (first.body === 'a' ? a : b)[Symbol.asyncDispose]()

  const moved = await request(address, '/', { headers })
  expect(moved).toMatchObject({ status: 200, body: first.body === 'a' ? 'b' : 'a' })
  const Cookie = cookieOf(moved.headers['set-cookie'])
  const next = await request(address, '/', { headers: { Cookie } })
  expect(next.body).toBe(moved.body)
  expect(next.headers['set-cookie']).toBeUndefined()
})

test('a cookie that is forged, or of another start, is taken for none', async () => {
  await using a = await TestUpstream.saying('a')
  await using other = sticky(a)
  const foreign = cookieOf((await request(await other.address(), '/')).headers['set-cookie'])
  await using proxy = sticky(a)
  const address = await proxy.address()
  for (const Cookie of [
    foreign,
    'cirque_backend=',
    `cirque_backend=${'A'.repeat(4_000)}`,
    'cirque_backend=%00',
  ]) {
    const reply = await request(address, '/', { headers: { Cookie } })
    expect(reply.status).toBe(200)
    cookieOf(reply.headers['set-cookie'])
  }
})

test("the upstream's own cookies stay", async () => {
  await using a = await TestUpstream.start((_request, response) => {
    response
      .writeHead(
        200,
        [
          ['Set-Cookie', 'one=1'],
          ['Set-Cookie', 'two=2'],
        ].flat(),
      )
      .end()
  })
  await using proxy = sticky(a)
  const { headers } = await request(await proxy.address(), '/')
  expect(headers['set-cookie']?.slice(0, 2)).toEqual(['one=1', 'two=2'])
  expect(headers['set-cookie']).toHaveLength(3)
})
