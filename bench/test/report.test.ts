import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseH2load } from '../src/h2load.ts'
import { parseWrk } from '../src/load.ts'
import { formatCase, formatIdle, formatRelay, formatTable, ratioToReference } from '../src/report.ts'
import type { Sample } from '../src/samples.ts'
import { Histogram, median } from '../src/statistics.ts'

function sample(proxy: string, round: number, cpuMicrosPerRequest: number | undefined): Sample {
  return {
    proxy,
    round,
    cpuMicrosPerRequest,
    requestsPerSecond: 1_000,
    p50Micros: 1_500,
    p99Micros: 2_500,
    residentBytes: 64 * 1024 * 1024,
    peakBytes: 65 * 1024 * 1024,
    errors: 1,
  }
}

test('the ratio compares within a round, so that a slow moment of the machine cancels out', () => {
  const samples = [
    sample('nginx', 0, 10),
    sample('cirque', 0, 12),
    sample('nginx', 1, 100),
    sample('cirque', 1, 110),
    sample('nginx', 2, 10),
    sample('cirque', 2, 13),
  ]
  const ratio = ratioToReference(samples, 'cirque')
  expect(ratio?.median).toBeCloseTo(1.2)
  expect(ratio?.min).toBeCloseTo(1.1)
  expect(ratio?.max).toBeCloseTo(1.3)
})

test('no reference, or no figures, gives no ratio', () => {
  expect(ratioToReference([sample('cirque', 0, 12)], 'cirque')).toBeUndefined()
  const unmeasured = [sample('nginx', 0, undefined), sample('cirque', 0, 12)]
  expect(ratioToReference(unmeasured, 'cirque')).toBeUndefined()
})

test('the cheapest proxy comes first, and what is not known is a dash', () => {
  const text = formatCase({
    protocol: 'h1',
    threads: 1,
    bodyBytes: 10_240,
    connections: 64,
    mode: 'close',
    samples: [sample('caddy', 0, undefined), sample('cirque', 0, 20), sample('nginx', 0, 16)],
  })
  const lines = text.split('\n')
  expect(lines[0]).toBe('HTTP/1, 10 KiB body, 64 connections, a new one per request')
  expect(lines.slice(2).map((line) => line.split(/\s+/)[0])).toEqual(['nginx', 'cirque', 'caddy'])
  expect(lines[3]?.split(/\s+/)).toEqual([
    'cirque',
    '20.0',
    '1.25',
    '1.25–1.25',
    '1000',
    '1.50',
    '2.50',
    '64',
    '65',
    '1',
  ])
  expect(lines[4]).toMatch(/^caddy +– +– +–/)
})

test('HTTP/2 says how its requests share connections; without nginx HAProxy is the reference', () => {
  const text = formatCase({
    protocol: 'h2-h2',
    threads: 1,
    bodyBytes: 13,
    connections: 64,
    mode: 'keep-alive',
    samples: [sample('cirque', 0, 20), sample('haproxy', 0, 10)],
  })
  const lines = text.split('\n')
  expect(lines[0]).toBe('TLS, HTTP/2 to HTTP/2, 13 B body, 8 connections of 8 streams, keep-alive')
  expect(lines[1]).toContain('× haproxy')
  expect(lines[3]?.split(/\s+/).slice(0, 3)).toEqual(['cirque', '20.0', '2.00'])
})

test('the relay table has a line for each proxy and way', () => {
  const relayed = (proxy: string, direction: 'down' | 'up', cpuMicrosPerMebibyte: number) => ({
    proxy,
    round: 0,
    direction,
    cpuMicrosPerMebibyte,
    mebibytesPerSecond: 1_000,
    residentBytes: 32 * 1024 ** 2,
    peakBytes: 33 * 1024 ** 2,
  })
  const lines = formatRelay([
    relayed('cirque', 'down', 110),
    relayed('haproxy', 'down', 100),
    relayed('cirque', 'up', 90),
    relayed('haproxy', 'up', 120),
  ]).split('\n')
  expect(lines.slice(2).map((line) => line.split(/ {2,}/).slice(0, 3))).toEqual([
    ['cirque, down', '110', '1.10'],
    ['haproxy, down', '100', '1.00'],
    ['cirque, up', '90', '0.75'],
    ['haproxy, up', '120', '1.00'],
  ])
})

test('the idle table shares the growth among the connections that stand', () => {
  const samples = [
    { proxy: 'cirque', connections: 1024, residentBytes: 80 * 1024 ** 2, baseBytes: 70 * 1024 ** 2 },
  ]
  expect(formatIdle(samples).split('\n').at(-1)?.split(/\s+/)).toEqual(['cirque', '1024', '80', '70', '10.0'])
})

test('columns line up', () => {
  expect(
    formatTable([
      ['a', 'bb'],
      ['ccc', 'd'],
    ]),
  ).toBe('a    bb\nccc   d')
})

test('the report of wrk is found among its own lines', () => {
  const json = '{"requests":5,"bytes":10,"seconds":1.5,"p50Micros":2.0,"p99Micros":3.0,"errors":0}'
  expect(parseWrk(`Running 1s test\n  5 requests\nJSON ${json}\n`)).toEqual(JSON.parse(json))
  expect(() => parseWrk('unable to connect')).toThrow('unable to connect')
})

test('the report of h2load is read, latencies from its log', () => {
  const output = `finished in 2.01s, 1707.50 req/s, 141.05KB/s
requests: 3415 total, 3472 started, 3408 done, 3408 succeeded, 7 failed, 7 errored, 0 timeout
status codes: 3405 2xx, 0 3xx, 0 4xx, 3 5xx
traffic: 141.05KB (144433) total, 37.31KB (38201) headers (space savings 92.95%), 43.27KB (44304) data
`
  const { p50Micros, p99Micros, ...rest } = parseH2load(output, '1\t200\t100\n2\t200\t100\n3\t503\t900\n')
  expect(rest).toEqual({ requests: 3408, bytes: 144_433, seconds: 2.01, errors: 10 })
  expect(p50Micros).toBeCloseTo(100, -1)
  expect(p99Micros).toBeCloseTo(900, -2)
  expect(() => parseH2load('unable to connect', '')).toThrow('unable to connect')
})

test('the median is a value in the middle', () => {
  expect(median([])).toBeUndefined()
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
})

test('a percentile is never below the true one, and at most 2 % above', () => {
  const latencies = fc.array(fc.integer({ min: 1, max: 100_000_000 }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(latencies, fc.constantFrom(0.5, 0.9, 0.99, 1), (values, share) => {
      const histogram = new Histogram()
      for (const value of values) histogram.add(value)
      const sorted = values.toSorted((a, b) => a - b)
      const exact = sorted[Math.ceil(values.length * share) - 1] ?? 0
      expect(histogram.percentile(share)).toBeGreaterThanOrEqual(exact * 0.999_999)
      expect(histogram.percentile(share)).toBeLessThanOrEqual(exact * 1.020_001)
    }),
  )
  expect(new Histogram().percentile(0.5)).toBe(0)
})
