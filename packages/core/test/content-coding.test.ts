import fc from 'fast-check'
import { expect, test } from 'vitest'
import { acceptedCodings, type ContentCoding, chooseCoding } from '../src/index.ts'

const OFFERED: readonly ContentCoding[] = ['zstd', 'br', 'gzip']

test.each<[accept: string | undefined, chosen: ContentCoding | undefined]>([
  [undefined, undefined],
  ['', undefined],
  ['gzip', 'gzip'],
  ['GZip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['gzip, br', 'br'],
  ['gzip, deflate, br, zstd', 'zstd'],
  ['deflate', undefined],
  ['gzip;q=0', undefined],
  ['gzip; q=0.000', undefined],
  ['gzip;q=1.0, br;q=0.9', 'gzip'],
  ['br;q=0.001', 'br'],
  ['gzip ; Q=0.5 , br ; q=0.4', 'gzip'],
  ['*', 'zstd'],
  ['*;q=0', undefined],
  ['*;q=0.5, gzip', 'gzip'],
  ['zstd;q=0, *', 'br'],
  ['identity', undefined],
  ['identity, gzip;q=0.5', undefined],
  ['identity;q=0.5, gzip', 'gzip'],
  ['identity;q=0.5, gzip;q=0.5', 'gzip'],
  ['identity;q=0, gzip', 'gzip'],
  // Malformed members accept nothing, and harm no other.
  ['gzip;q=2', undefined],
  ['gzip;q=0.0001', undefined],
  ['gzip;q=, br', 'br'],
  ['gzip;level=9', undefined],
  ['"gzip"', undefined],
  [',,gzip,', 'gzip'],
  ['gzip br', undefined],
])('RFC 9110 §12.5.3: "%s" chooses %s', (accept, chosen) => {
  expect(chooseCoding(acceptedCodings(accept), OFFERED)).toBe(chosen)
})

test.each([
  ['gzip', undefined],
  ['identity;q=0', 0],
  ['*;q=0', 0],
  ['*;q=0, identity;q=0.3', 0.3],
  ['*;q=0.3', undefined],
])('"%s" gives identity the weight %s', (accept, weight) => {
  expect(acceptedCodings(accept).identity).toBe(weight)
})

test('only what was offered is chosen, and never what the client refuses', () => {
  const coding = fc.constantFrom('gzip', 'br', 'zstd', 'identity', '*', 'deflate')
  const weight = fc.integer({ min: 0, max: 1000 }).map((n) => n / 1000)
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(coding, weight), { selector: ([name]) => name }),
      fc.subarray([...OFFERED]),
      (items, offered) => {
        const text = items.map(([name, q]) => `${name};q=${q.toFixed(3)}`).join(', ')
        const weights = new Map<string, number>(items)
        const chosen = chooseCoding(acceptedCodings(text), offered)
        const of = (name: string) => weights.get(name) ?? weights.get('*') ?? 0
        if (chosen === undefined) {
          for (const each of offered)
            expect(of(each) === 0 || of(each) < (weights.get('identity') ?? 0)).toBe(true)
        } else {
          expect(offered).toContain(chosen)
          expect(of(chosen)).toBe(Math.max(...offered.map(of)))
          expect(of(chosen)).toBeGreaterThan(0)
        }
      },
    ),
  )
})
