import { expect, test } from 'vitest'
import { type BenchOptions, EVERY_PROXY, formatSize, parseOptions, parseSize } from '../src/options.ts'
import { planCases } from '../src/plan-cases.ts'
import { contenders } from '../src/proxies.ts'

test('without flags the whole matrix is measured, pinned to the first and the last core', () => {
  expect(parseOptions([], 4)).toEqual({
    proxies: EVERY_PROXY,
    protocols: ['h1', 'tls', 'h2', 'h1-h2', 'h2-h2', 'grpc'],
    bodies: [13, 10_240, 1_048_576],
    connections: { plain: [1, 64, 1000], other: [64] },
    modes: ['keep-alive', 'close', 'resume', 'upload'],
    threads: [1],
    rounds: 3,
    seconds: 2,
    idleConnections: 10_000,
    relayBytes: 2 ** 30,
    key: 'ec',
    groups: 'X25519',
    cores: ['0', '3'],
    tools: 'auto',
    fromSource: false,
    output: '',
  })
})

test('flags say what to measure, and win over --smoke', () => {
  const args = '--smoke --proxies cirque,nginx --bodies 13,10k --connections 64 --rounds 5 --seconds 3'
  expect(parseOptions(args.split(' '), 2)).toMatchObject({
    proxies: ['cirque', 'nginx'],
    bodies: [13, 10_240],
    protocols: ['h1'],
    connections: { plain: [64], other: [64] },
    rounds: 5,
    seconds: 3,
    cores: [],
    tools: 'builtin',
  })
})

test('one core cannot be shared out', () => {
  expect(parseOptions([], 1)).toMatchObject({ cores: [] })
})

test.each([
  ['--proxies apache', '"apache"'],
  ['--bodies 10x', '"10x"'],
  ['--bodies 0', '"0"'],
  ['--connections 0', '"0"'],
  ['--connections 1.5', '"1.5"'],
  ['--rounds 0', '"0"'],
  ['--seconds 0.05', '"0.05"'],
  ['--seconds soon', '"soon"'],
  ['--modes open', '"open"'],
  ['--protocols h3', '"h3"'],
  ['--threads 0', '"0"'],
  ['--relay 1g', '"1g"'],
  ['--key dsa', '"dsa"'],
  ['--cores 1', '"1"'],
  ['--cores 0,1,2', '"0,1,2"'],
  ['--tools mine', '"mine"'],
])('%s is refused with the value that is wrong', (args, named) => {
  expect(() => parseOptions(args.split(' '), 2)).toThrow(named)
})

test('an unknown flag is refused', () => {
  expect(() => parseOptions(['--fast'], 2)).toThrow(/--fast/)
})

test('only combinations that say something are measured', () => {
  const plans = planCases(parseOptions(['--threads', '1,2'], 2) as BenchOptions)
  const of = (name: string) => plans.filter(({ protocol }) => protocol === name)
  expect(of('h1')).toHaveLength(2 * 3 * (3 * 2 + 1))
  expect(of('tls').map(({ bodyBytes, mode }) => [bodyBytes, mode])).toEqual([
    [13, 'keep-alive'],
    [13, 'close'],
    [13, 'resume'],
    [10_240, 'keep-alive'],
    [1_048_576, 'keep-alive'],
    [1_048_576, 'upload'],
  ])
  for (const name of ['h2', 'h1-h2', 'h2-h2']) expect(of(name), name).toHaveLength(4)
  expect(of('grpc')).toEqual([
    { protocol: 'grpc', threads: 1, bodyBytes: 13, connections: 64, mode: 'keep-alive' },
  ])
})

test('sizes are read and written in the same units', () => {
  expect([13, 10 * 1024, 1024 * 1024].map(formatSize)).toEqual(['13 B', '10 KiB', '1 MiB'])
  expect(['13', '10k', '1M'].map(parseSize)).toEqual([13, 10 * 1024, 1024 * 1024])
})

test('every name that the command line knows is a contender', () => {
  expect([...contenders.keys()]).toEqual(EVERY_PROXY)
})
