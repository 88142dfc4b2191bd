import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

/** Says how it is when asked for /health, and its name to everybody else. */
class Patient {
  health = '{"status":"ok"}'
  status = 200
  readonly name: string

  constructor(name: string) {
    this.name = name
  }

  open(port: number = 0): Promise<TestUpstream> {
    return TestUpstream.start(
      (incoming, response) => {
        if (incoming.url === '/health') response.writeHead(this.status).end(this.health)
        else response.end(this.name)
      },
      { port },
    )
  }
}

function spreader(...peers: string[]): ExampleProcess {
  const pa = peers.flatMap((peer) => ['--pa', peer])
  return new ExampleProcess('health-aware', ['--ba', '127.0.0.1:0', '--interval', '30', ...pa])
}

async function namesOf(address: string): Promise<string[]> {
  const replies = await Promise.all(Array.from({ length: 8 }, () => request(address, '/')))
  return [...new Set(replies.map(({ body }) => body))].sort()
}

test.each([
  [
    'says something else',
    { health: '{"status":"draining"}' },
    /The validator refused the answer of ".*" with status 200/,
  ],
  ['answers 503', { status: 503 }, /The validator refused .* with status 503/],
  ['says no JSON', { health: 'ok' }, /not valid JSON|Unexpected token/],
  ['says null', { health: 'null' }, /The validator refused/],
] as const)(
  'an upstream that %s gets nothing more until it is well again',
  async (_what, illness, reason) => {
    const sick = new Patient('sick')
    await using a = await sick.open()
    await using b = await new Patient('well').open()
    await using proxy = spreader(a.address, b.address)
    const address = await proxy.address()
    expect(await namesOf(address)).toEqual(['sick', 'well'])

    Object.assign(sick, illness)
    const told = await proxy.output(new RegExp(`${a.address} is unwell: (.*)\\n(.*)\\n`))
    expect(told[1]).toMatch(reason)
    expect(told[2]).toBe(`upstreams: 1 of 2 backends eligible (round-robin); out: ${a.address} unhealthy`)
    expect(await namesOf(address)).toEqual(['well'])

    Object.assign(sick, new Patient('sick'))
    const again = await proxy.output(new RegExp(`${a.address} is well again\\n(.*)\\n`))
    expect(again[1]).toBe('upstreams: 2 of 2 backends eligible (round-robin)')
    expect(await namesOf(address)).toEqual(['sick', 'well'])
  },
)

test('an upstream that is gone is found out, and found again at the same address', async () => {
  const patient = new Patient('a')
  const first = await patient.open()
  await using b = await new Patient('b').open()
  await using proxy = spreader(first.address, b.address)
  const address = await proxy.address()
  await first[Symbol.asyncDispose]()
  expect(await namesOf(address)).toEqual(['b']) // by failover, or because it is out already
  await proxy.output(new RegExp(`${first.address} is unwell: .*ECONNREFUSED`))
  await using _again = await patient.open(Number(first.address.split(':')[1]))
  await proxy.output(new RegExp(`${first.address} is well again`))
  expect(await namesOf(address)).toEqual(['a', 'b'])
})

test('with nobody well the answer is 503, at once', async () => {
  const patient = new Patient('a')
  patient.health = ''
  await using a = await patient.open()
  await using proxy = spreader(a.address)
  const address = await proxy.address()
  await proxy.output(/is unwell/)
  expect((await request(address, '/')).status).toBe(503)
})
