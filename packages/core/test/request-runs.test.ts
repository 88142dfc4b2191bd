import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RequestRuns, type RequestRunsOwner } from '../src/sessions/request-runs.ts'
import { WRITE_DONE, WRITE_RETAINED, type WriteResult } from '../src/sessions/write-result.ts'

/** Takes runs, and counts the memory that they come in. */
class Taker implements RequestRunsOwner {
  wantsRuns = true
  readonly runs: RequestRuns = new RequestRuns(this)
  readonly sizes: number[] = []
  /** How much memory each run lay in. */
  readonly held: number[] = []
  taken = ''
  answer: WriteResult = WRITE_DONE

  passRun(buffer: Buffer, start: number, end: number): WriteResult {
    this.sizes.push(end - start)
    this.held.push(buffer.length)
    this.taken += buffer.toString('latin1', start, end)
    return this.answer
  }

  add(text: string): void {
    const buffer = Buffer.from(text, 'latin1')
    this.runs.add(buffer, 0, buffer.length)
    // As a read does: what comes next lies in the same memory.
    buffer.fill('!')
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('what a turn brings is passed on together at its end', async () => {
  const taker = new Taker()
  for (let index = 0; index < 3; index++) taker.add(`${index}`.repeat(16_384))
  expect(taker.sizes).toEqual([])
  await turn()
  expect(taker.sizes).toEqual([49_152])
  expect(taker.taken).toBe('0'.repeat(16_384) + '1'.repeat(16_384) + '2'.repeat(16_384))
})

test('64 KiB are passed on at once, and the rest at the end of the turn', async () => {
  const taker = new Taker()
  taker.add('x'.repeat(65_535))
  expect(taker.sizes).toEqual([])
  taker.add('yz')
  expect(taker.sizes).toEqual([65_536])
  await turn()
  expect(taker.sizes).toEqual([65_536, 1])
  expect(taker.held).toEqual([65_536, 1])
  expect(taker.taken.endsWith('xyz')).toBe(true)
})

test('of 33 that gather in a turn the first goes on when the last begins', async () => {
  const takers = Array.from({ length: 33 }, () => new Taker())
  for (const taker of takers.slice(0, 32)) taker.add('x')
  expect(takers.filter(({ taken }) => taken !== '')).toEqual([])
  ;(takers[32] as Taker).add('x')
  expect(takers.map(({ taken }) => taken)).toEqual(['x', ...Array.from({ length: 32 }, () => '')])
  await turn()
  expect(takers.map(({ taken }) => taken)).toEqual(Array.from({ length: 33 }, () => 'x'))
})

test.each([
  [1, 1],
  [8_191, 8_191],
  [8_192, 16_384],
  [16_385, 32_768],
  [32_768, 32_768],
  [32_769, 65_536],
])(
  '%d bytes are passed on, or wait for who does not want them yet, in memory of %d',
  async (bytes, memory) => {
    for (const wanted of [true, false]) {
      const taker = new Taker()
      taker.add('x'.repeat(bytes))
      taker.wantsRuns = wanted
      await turn()
      expect(taker.sizes).toEqual(wanted ? [bytes] : [])
      taker.wantsRuns = true
      taker.runs.pass()
      expect([taker.sizes, taker.held]).toEqual([[bytes], [memory]])
      expect(taker.runs.isEmpty).toBe(true)
    }
  },
)

test('what waited for its reader is passed on before what comes next', async () => {
  const taker = new Taker()
  taker.add('a'.repeat(10_000))
  taker.wantsRuns = false
  await turn()
  taker.wantsRuns = true
  taker.add('b')
  expect(taker.sizes).toEqual([10_000])
  await turn()
  expect(taker.sizes).toEqual([10_000, 1])
})

test('whoever keeps runs, and whenever: no byte is lost, moved or written over', async () => {
  const step = fc.record({
    who: fc.nat(3),
    act: fc.constantFrom('add', 'add', 'add', 'pause', 'resume', 'turn'),
    size: fc.constantFrom(1, 100, 10_000, 16_384, 32_768, 65_536, 100_000),
    keeps: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const kept: { text: string; run: Buffer }[] = []
      class Keeper extends Taker {
        override passRun(buffer: Buffer, start: number, end: number): WriteResult {
          if (this.answer === WRITE_RETAINED) {
            kept.push({ text: buffer.toString('latin1', start, end), run: buffer.subarray(start, end) })
          }
          return super.passRun(buffer, start, end)
        }
      }
      const takers = Array.from({ length: 4 }, () => new Keeper())
      const given = takers.map(() => '')
      for (const [index, { who, act, size, keeps }] of steps.entries()) {
        const taker = takers[who] as Keeper
        taker.answer = keeps ? WRITE_RETAINED : WRITE_DONE
        if (act === 'turn') await turn()
        else if (act === 'pause') taker.wantsRuns = false
        else if (act === 'resume' || !taker.wantsRuns) {
          taker.wantsRuns = true
          taker.runs.pass()
        } else {
          const text = String.fromCharCode(97 + (index % 26)).repeat(size)
          given[who] += text
          taker.add(text)
        }
      }
      for (const taker of takers) taker.runs.pass()
      await turn()
      expect(takers.every(({ taken }, index) => taken === given[index])).toBe(true)
      expect(kept.every(({ text, run }) => run.toString('latin1') === text)).toBe(true)
    }),
    { numRuns: 60 },
  )
})
