import { httpDate, parseHttpDate } from '@cirque/http'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const NOW = Date.UTC(2026, 10, 1)

/** Dates of the three forms of RFC 9110 §5.6.7: as `Date` reads them, and as they were written. */
export const target: Target = {
  name: 'http-date',
  seeds: ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994'],
  bytesMax: 64,
  inputs: fc
    .date({ min: new Date(0), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
    .map((date) => Buffer.from(date.toUTCString())),
  run(input) {
    const text = input.toString('latin1')
    const time = parseHttpDate(text, NOW)
    if (time === undefined) return
    holds('a date is whole seconds', Number.isInteger(time / 1_000))
    if (time >= 0 && time < Date.UTC(10_000))
      same('what is written reads the same', parseHttpDate(httpDate(time)), time)
    // Date knows no leap second, and takes years below 100 for two digits.
    if (/:60/.test(text) || /^\w+, \d\d-/.test(text) || /\b00\d\d\b/.test(text)) return
    same('Date reads the same', new Date(text.endsWith('GMT') ? text : `${text} GMT`).getTime(), time)
  },
}
