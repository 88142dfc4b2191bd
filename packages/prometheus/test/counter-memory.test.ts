import { expect, test } from 'vitest'
import { CounterLayout, CounterMemory } from '../src/counter-memory.ts'

const layout = new CounterLayout(1, 4)

function namesOf(memory: CounterMemory): [string, number][] {
  const names: [string, number][] = []
  memory.forEachUpstream((name, row) => names.push([name, memory.slots[layout.upstream(row)] as number]))
  return names
}

function count(memory: CounterMemory, name: string): void {
  memory.add(layout.upstream(memory.upstreamRow(name)), 1)
}

test('names that begin alike beyond what is kept of them share a row, also for a thread that takes over', () => {
  const buffer = new SharedArrayBuffer(layout.byteLength)
  const first = new CounterMemory(layout, buffer)
  const long = '\u20ac'.repeat(41) // 123 of the 124 bytes that are kept
  for (const name of [`${long}a`, `${long}ab`, `${long}\u20ac`, '', `${long}a`]) count(first, name)
  const expected = [
    ['none', 0],
    ['other', 0],
    [`${long}a`, 3],
    [long, 1],
    ['', 1],
  ]
  expect(namesOf(first)).toEqual(expected)
  const next = new CounterMemory(layout, buffer)
  next.resume()
  for (const name of ['fourth', 'fifth', `${long}abc`, `${long}\u20ac`, '']) count(next, name)
  expect(namesOf(next)).toEqual([
    ['none', 0],
    ['other', 1],
    [`${long}a`, 4],
    [long, 2],
    ['', 2],
    ['fourth', 1],
  ])
})

test('what is no name is refused', () => {
  const memory = new CounterMemory(layout)
  expect(() => memory.upstreamRow(undefined as unknown as string)).toThrow(
    'upstreamLabel must give a string, received undefined',
  )
})
