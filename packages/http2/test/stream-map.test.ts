import fc from 'fast-check'
import { expect, test } from 'vitest'
import { promotedBytes } from '../../../scripts/test-support/promoted.ts'
import type { Http2Stream } from '../src/index.ts'
import { StreamMap } from '../src/stream-map.ts'

function stream(id: number): Http2Stream {
  return { id } as Http2Stream
}

test('finds what a Map finds, whatever numbers streams have', () => {
  const ids = fc.oneof(
    fc.integer({ min: 1, max: 40 }),
    fc.nat(40).map((n) => n * 4_096 + 1),
    fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  )
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 300 }), (steps) => {
      const map = new StreamMap()
      const model = new Map<number, Http2Stream>()
      for (const id of steps) {
        if (model.has(id)) {
          map.delete(id)
          model.delete(id)
        } else {
          map.add(stream(id))
          model.set(id, map.get(id) as Http2Stream)
        }
        expect(map.size).toBe(model.size)
        expect(map.get(id)).toBe(model.get(id))
      }
      for (const [id, kept] of model) expect(map.get(id)).toBe(kept)
      const inOrder = [...model.values()].sort((left, right) => left.id - right.id)
      expect(map.values()).toEqual(inOrder)
    }),
  )
})

test('knows no stream that is not there', () => {
  const map = new StreamMap()
  map.add(stream(1))
  for (const id of [0, 2, 3, -1, 2 ** 31]) {
    expect(map.get(id)).toBeUndefined()
    map.delete(id)
  }
  expect(map.values()).toEqual([{ id: 1 }])
})

test('streams that come and go are freed by quick collections', () => {
  const map = new StreamMap()
  let id = -1
  const promoted = promotedBytes((thing) => {
    id += 2
    const added = Object.assign(stream(id), { thing })
    map.add(added)
    return () => map.delete(added.id)
  })
  expect(promoted).toBeLessThan(3_000_000)
})
