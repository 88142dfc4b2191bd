import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { brokenInvariants, States, statusForError } from '@cirque/error'
import fc from 'fast-check'
import { expect, test } from 'vitest'

const OPEN = 0
const SHUT = 1
const LOCKED = 2
type DoorState = typeof OPEN | typeof SHUT | typeof LOCKED

const door = new States<DoorState>('door', [
  { name: 'open', to: [SHUT] },
  { name: 'shut', to: [OPEN, LOCKED] },
  { name: 'locked', to: [SHUT] },
])

test('allows what the table names and nothing else', () => {
  const allowed = [OPEN, SHUT, LOCKED].map((from) =>
    [OPEN, SHUT, LOCKED].map((to) => door.allows(from as DoorState, to as DoorState)),
  )
  expect(allowed).toEqual([
    [false, true, false],
    [true, false, true],
    [false, true, false],
  ])
})

test('answers as the table says for any table', () => {
  fc.assert(
    fc.property(
      fc
        .integer({ min: 1, max: 31 })
        .chain((count) =>
          fc.array(fc.uniqueArray(fc.nat(count - 1)), { minLength: count, maxLength: count }),
        ),
      (table) => {
        const states = new States<number>(
          'thing',
          table.map((to, index) => ({ name: `s${index}`, to })),
        )
        for (let from = 0; from < table.length; from++) {
          for (let to = 0; to < table.length; to++) {
            expect(states.allows(from, to)).toBe(table[from]?.includes(to))
          }
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('a broken invariant is counted, published, and an error of ours that nobody retries', () => {
  const messages: unknown[] = []
  const listen = (message: unknown) => messages.push(message)
  subscribe('cirque:invariant', listen)
  const before = brokenInvariants()
  const error = door.broken(OPEN, LOCKED)
  unsubscribe('cirque:invariant', listen)
  expect(error).toMatchObject({
    code: 'INVARIANT_BROKEN',
    source: 'internal',
    retry: 'never',
    message: 'The state of a door cannot go from "open" to "locked"',
  })
  expect(statusForError(error)).toBe(500)
  expect(brokenInvariants()).toBe(before + 1)
  expect(messages).toEqual([{ machine: 'door', from: 'open', to: 'locked', error }])
})

test('refuses a table that is none', () => {
  const state = { name: 'a', to: [] }
  expect(
    () =>
      new States(
        'thing',
        Array.from({ length: 32 }, () => state),
      ),
  ).toThrow(RangeError)
  expect(() => new States<number>('thing', [{ name: 'a', to: [1] }])).toThrow(
    new RangeError('State "a" of a thing leads to 1, which is none'),
  )
})
