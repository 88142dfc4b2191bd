import { describe, expect, test } from 'vitest'
import { plot } from '../src/plot.ts'
import type { GatewayState } from '../src/programs/gateway.ts'
import { failuresOf, plotOf, reportOf, type SoakResult } from '../src/report.ts'
import { fitLine, quantile } from '../src/statistics.ts'
import { Traffic } from '../src/traffic.ts'
import { judge, METRICS, notGivenBack, type Sample } from '../src/verdict.ts'

const STATE: GatewayState = {
  pid: 1,
  rssBytes: 100 * 1_048_576,
  heapBytes: 20 * 1_048_576,
  externalBytes: 5 * 1_048_576,
  handles: 20,
  sockets: 10,
  descriptors: 30,
  connections: 5,
  active: 1,
  upstreamOpen: 4,
  upstreamIdle: 3,
  broken: 0,
  tcpOpen: 0,
  udpOpen: 0,
  collected: true,
}

/** A run with noise that is the same each time, and a change over all of it. */
function run(change: (share: number) => Partial<GatewayState>, count = 200): Sample[] {
  return Array.from({ length: count }, (_, index) => {
    const noise = ((index * 7919) % 13) / 13 - 0.5
    const state = {
      ...STATE,
      rssBytes: STATE.rssBytes + noise * 2_000_000,
      handles: STATE.handles + noise * 6,
    }
    const latencies = { latencyP50Ms: 2 + noise, latencyP99Ms: 9 + noise }
    return { seconds: index, state: { ...state, ...change(index / count) }, ...latencies }
  })
}

const growing = (samples: Sample[]): string[] =>
  judge(samples).flatMap(({ metric, isGrowing }) => (isGrowing ? [metric.name] : []))

describe('fitLine', () => {
  test('finds the growth of a line, without doubt', () => {
    const { growth, uncertainty, mean } = fitLine([1, 2, 3, 4, 5])
    expect(growth).toBeCloseTo(4)
    expect(uncertainty).toBeCloseTo(0)
    expect(mean).toBe(3)
  })

  test('the interval of a line with noise holds its growth', () => {
    const values = Array.from({ length: 400 }, (_, index) => index / 40 + ((index * 7919) % 101) / 20)
    const { growth, uncertainty } = fitLine(values)
    expect(uncertainty).toBeGreaterThan(0)
    expect(Math.abs(growth - 9.5)).toBeLessThan(uncertainty + 0.2)
  })

  test('refuses fewer than four values', () => {
    expect(() => fitLine([1, 2, 3])).toThrow(RangeError)
  })
})

describe('the verdict', () => {
  test('noise alone does not grow, nor does growth that ends in the first half', () => {
    expect(growing(run(() => ({})))).toEqual([])
    expect(growing(run((share) => ({ handles: share < 0.4 ? share * 1_000 : 400 })))).toEqual([])
  })

  test.each([
    ['heap in use', (share: number) => ({ heapBytes: STATE.heapBytes + share * 8 * 1_048_576 })],
    ['buffers in use', (share: number) => ({ externalBytes: share * 10 * 1_048_576 })],
    ['resident set', (share: number) => ({ rssBytes: STATE.rssBytes + share * 80 * 1_048_576 })],
    ['handles', (share: number) => ({ handles: 20 + share * 60 })],
    ['file descriptors', (share: number) => ({ descriptors: 30 + Math.floor(share * 60) })],
    ['requests under way', (share: number) => ({ active: share * 40 })],
    ['upstream connections', (share: number) => ({ upstreamOpen: share * 60 })],
  ])('%s that grow are seen, above the bound only', (name, change) => {
    expect(growing(run(change))).toEqual([name])
    expect(growing(run((share) => change(share / 8)))).toEqual([])
  })

  test('every metric is in the table of a run', () => {
    expect(judge(run(() => ({}))).map(({ metric }) => metric.name)).toEqual(METRICS.map(({ name }) => name))
  })

  test('names what is not given back', () => {
    expect(notGivenBack(STATE, STATE)).toEqual(['upstream connections in use: 1, at most 0 expected'])
    const idle = { ...STATE, upstreamOpen: 3, sockets: 13 }
    expect(notGivenBack(STATE, idle)).toEqual([])
    expect(notGivenBack(STATE, { ...idle, sockets: 14, active: 2 })).toEqual([
      'requests under way: 2, at most 1 expected',
      'sockets: 14, at most 13 expected',
    ])
    expect(notGivenBack({ ...STATE, descriptors: undefined }, { ...idle, descriptors: undefined })).toEqual(
      [],
    )
  })
})

describe('the report', () => {
  const samples = run((share) => ({ heapBytes: STATE.heapBytes + share * 20 * 1_048_576 }))
  const result: SoakResult = {
    threads: 1,
    minutes: 12.34,
    perSecond: 60,
    samples,
    judgements: judge(samples),
    counts: [
      { name: 'one', done: 3, failed: 1, skipped: 0 },
      { name: 'none', done: 0, failed: 0, skipped: 9 },
    ],
    errors: new Map([['one: broke', 2]]),
    upgrades: 3,
    reloads: 4,
    left: ['sockets: 3, at most 2 expected'],
  }

  test('says why it failed, once each', () => {
    expect(failuresOf(result)).toEqual([
      expect.stringMatching(/^heap in use grows: 9\.\d MiB/),
      '2 × one: broke',
      'not given back: sockets: 3, at most 2 expected',
      'never done: none',
    ])
    const text = reportOf(result)
    expect(text).toMatch(/^# Soak of 12 minutes: FAILED$/m)
    expect(text).toMatch(/^\| heap in use \| 35 MiB \| 9\.5 ± \S+ MiB \| 3 MiB \| GROWS \|$/m)
    expect(text).toMatch(/^\| one \| 3 \| 1 \| 0 \|$/m)
  })

  test('is a success when there is nothing to say', () => {
    const good = { ...result, judgements: judge(run(() => ({}))), errors: new Map(), left: [], counts: [] }
    expect(failuresOf(good)).toEqual([])
    expect(reportOf(good)).toContain('# Soak of 12 minutes: nothing grows, nothing failed')
  })

  test('the plot is well-formed, with a line for each series', () => {
    const svg = plotOf(result)
    expect(svg.match(/<polyline/g)).toHaveLength(9)
    expect(svg).not.toContain('NaN')
    const odd = plot('a < b & "c"', [1], [{ title: '<', series: [{ name: '&', values: [undefined] }] }])
    expect(odd).toContain('a &lt; b &amp; "c"')
    for (const text of [svg, odd]) expect(text).toMatch(/^<svg [^>]+>[\s\S]*<\/svg>\n$/)
  })
})

test('quantile', () => {
  expect(quantile([], 0.5)).toBe(0)
  expect(quantile([3, 1, 2], 0.5)).toBe(2)
  expect(quantile([1, 2, 3], 0.99)).toBe(3)
})

test('traffic counts what was done, what failed with its reason, and what it had to skip', async () => {
  const traffic = new Traffic()
  let release: () => void = () => {}
  const hung = new Promise<void>((resolve) => {
    release = resolve
  })
  const kinds = [
    { name: 'good', weight: 1, run: async () => {} },
    { name: 'bad', weight: 1, run: () => Promise.reject(new Error('broke')) },
    { name: 'hung', weight: 8, run: () => hung },
  ]
  const ports = { http: 0, https: 0, tcp: 0, udp: 0, admin: 0 }
  traffic.begin({ ports }, kinds, 1_000)
  await expect.poll(() => traffic.counts[2]?.skipped).toBeGreaterThan(0)
  await expect.poll(() => traffic.counts[1]?.failed).toBeGreaterThan(0)
  release()
  await traffic.end()
  expect(traffic.counts[0]?.done).toBeGreaterThan(0)
  expect(traffic.counts[2]?.done).toBe(16)
  expect([...traffic.errors.keys()]).toEqual(['bad: broke'])
})
