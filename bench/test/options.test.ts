import { expect, test } from 'vitest'
import { EVERY_PROXY, formatSize, parseOptions, parseSize } from '../src/options.ts'
import { contenders } from '../src/proxies.ts'

test('without flags the whole matrix is measured, pinned to the first and the last core', () => {
  expect(parseOptions([], 4)).toEqual({
    proxies: EVERY_PROXY,
    bodies: [13, 10_240, 1_048_576],
    connections: [1, 64, 1000],
    modes: ['keep-alive', 'close'],
    rounds: 3,
    seconds: 2,
    idleConnections: 10_000,
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
    connections: [64],
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
  ['--cores 1', '"1"'],
  ['--cores 0,1,2', '"0,1,2"'],
  ['--tools mine', '"mine"'],
])('%s is refused with the value that is wrong', (args, named) => {
  expect(() => parseOptions(args.split(' '), 2)).toThrow(named)
})

test('an unknown flag is refused', () => {
  expect(() => parseOptions(['--fast'], 2)).toThrow(/--fast/)
})

test('sizes are read and written in the same units', () => {
  expect([13, 10 * 1024, 1024 * 1024].map(formatSize)).toEqual(['13 B', '10 KiB', '1 MiB'])
  expect(['13', '10k', '1M'].map(parseSize)).toEqual([13, 10 * 1024, 1024 * 1024])
})

test('every name that the command line knows is a contender', () => {
  expect([...contenders.keys()]).toEqual(EVERY_PROXY)
})
