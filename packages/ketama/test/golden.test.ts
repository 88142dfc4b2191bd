import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Continuum } from '../src/index.ts'
import { upstreamAddress } from './nginx.ts'
import { upstreamSets } from './upstream-sets.ts'

const golden = JSON.parse(readFileSync(new URL('../data/nginx.json', import.meta.url), 'utf8')) as {
  chosen: Record<string, Record<string, string>>
}

test.each(Object.entries(upstreamSets))('chooses as nginx 1.22.1 did: %s', (name, buckets) => {
  const ring = new Continuum(buckets)
  const chosen = golden.chosen[name] as Record<string, string>
  const ours = Object.keys(chosen).map((key) => {
    return [key, upstreamAddress(ring.node(key) as string).replace('[0:0:0:0:0:0:0:1]', '[::1]')]
  })
  expect(Object.fromEntries(ours)).toEqual(chosen)
})

test("chooses as pingora-ketama's documented example does", () => {
  const ring = new Continuum([
    { address: '127.0.0.1:12345', weight: 1 },
    { address: '127.0.0.2:12345', weight: 2 },
    { address: '127.0.0.3:12345', weight: 3 },
  ])
  expect(['some_key', 'another_key', 'last_key'].map((key) => ring.node(key))).toEqual([
    '127.0.0.3:12345',
    '127.0.0.3:12345',
    '127.0.0.2:12345',
  ])
})

test('walks IPv6 points as pingora-ketama does without the brackets', () => {
  const buckets = [7777, 7778, 7779].map((port) => ({ address: `[::1]:${port}` }))
  const ring = new Continuum(buckets, { ipv6Brackets: false })
  const ports = [...ring.nodes('doghash', { unique: false })].slice(0, 7).map((node) => node.slice(-4))
  expect(ports).toEqual(['7777', '7778', '7777', '7778', '7778', '7777', '7779'])
})
