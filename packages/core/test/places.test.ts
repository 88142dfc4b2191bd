import fc from 'fast-check'
import { expect, test } from 'vitest'
import { promotedBytes } from '../../../scripts/test-support/promoted.ts'
import { Places } from '../src/index.ts'

test('holds what was added and not removed, each in a place of its own', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (steps) => {
      const places = new Places<{ place: number }>()
      const model: { place: number }[] = []
      for (const step of steps) {
        if (step > model.length || model.length === 0) {
          const thing = { place: -1 }
          thing.place = places.add(thing)
          model.push(thing)
        } else {
          const [thing] = model.splice(step % model.length, 1) as [{ place: number }]
          expect(places.remove(thing.place, thing)).toBe(true)
          expect(places.remove(thing.place, thing)).toBe(false)
        }
        expect(new Set(places.values())).toEqual(new Set(model))
        expect(places.size).toBe(model.length)
        for (const thing of model) expect(places.at(thing.place)).toBe(thing)
      }
    }),
  )
})

test('a thing is not removed from a place that another has', () => {
  const places = new Places<object>()
  const [first, second] = [{}, {}]
  const place = places.add(first)
  expect(places.remove(place, first)).toBe(true)
  expect(places.add(second)).toBe(place)
  expect(places.remove(place, first)).toBe(false)
  expect(places.remove(-1, first)).toBe(false)
  expect(places.at(place)).toBe(second)
})

test('what comes and goes is freed by quick collections, unlike in a Set', () => {
  const places = new Places<{ place: number }>()
  const inPlaces = promotedBytes((thing) => {
    const kept = { place: -1, thing }
    kept.place = places.add(kept)
    return () => places.remove(kept.place, kept)
  })
  const set = new Set<object>()
  const inSet = promotedBytes((thing) => {
    set.add(thing)
    return () => set.delete(thing)
  })
  // A Set that V8 has made better is no failure of ours.
  if (inSet < 10_000_000)
    console.warn('This V8 frees what was in a Set as quickly: Places has no use any more')
  expect(inPlaces).toBeLessThan(3_000_000)
})
