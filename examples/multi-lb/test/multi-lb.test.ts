import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'
import { TestUpstream, unusedAddress } from '../../../scripts/test-support/test-upstream.ts'

function router(...routes: string[]): ExampleProcess {
  return new ExampleProcess('multi-lb', [
    '--ba',
    '127.0.0.1:0',
    ...routes.flatMap((route) => ['--route', route]),
  ])
}

async function bodies(address: string, target: string, times: number): Promise<string[]> {
  const seen = new Set<string>()
  for (let i = 0; i < times; i++) seen.add((await request(address, target)).body)
  return [...seen].sort()
}

test('the longest prefix chooses the cluster, which takes turns', async () => {
  await using a = await TestUpstream.saying('a')
  await using b = await TestUpstream.saying('b')
  await using c = await TestUpstream.saying('c')
  await using d = await TestUpstream.saying('d')
  await using proxy = router(`/=${c.address}`, `/api/=${a.address},${b.address}`, `/api/new=${d.address}`)
  const address = await proxy.address()
  for (const target of ['/api', '/api/', '/api/x', '/api?x', '/api/newer']) {
    expect({ target, bodies: await bodies(address, target, 4) }).toEqual({ target, bodies: ['a', 'b'] })
  }
  for (const target of ['/', '/apix', '/x/api', '/API', '/%61pi']) {
    expect({ target, bodies: await bodies(address, target, 2) }).toEqual({ target, bodies: ['c'] })
  }
  expect(await bodies(address, '/api/new/x', 2)).toEqual(['d'])
})

test('a path that belongs to no cluster is 404', async () => {
  await using a = await TestUpstream.saying('a')
  await using proxy = router(`/api=${a.address}`)
  const address = await proxy.address()
  expect((await request(address, '/')).status).toBe(404)
  expect((await request(address, '/api')).status).toBe(200)
})

test('a cluster fails over within itself, and one that is down leaves the other alone', async () => {
  await using a = await TestUpstream.saying('a')
  await using c = await TestUpstream.saying('c')
  const dead = await unusedAddress()
  await using proxy = router(`/api=${dead},${a.address}`, `/down=${dead}`, `/=${c.address}`)
  const address = await proxy.address()
  const replies = await Promise.all(Array.from({ length: 8 }, () => request(address, '/api')))
  expect(replies.map(({ body }) => body)).toEqual(replies.map(() => 'a'))
  expect([502, 503]).toContain((await request(address, '/down')).status)
  expect((await request(address, '/')).body).toBe('c')
})
