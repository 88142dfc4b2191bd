/** The first second of the year 0 and the last of 9999, what four digits of a year can say. */
const SECOND_MIN = -62_167_219_200
const SECOND_MAX = 253_402_300_799

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
const MONTH = '(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'
const TIME = '(\\d\\d):(\\d\\d):(\\d\\d)'
const IMF_FIXDATE = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\\d\\d) ${MONTH} (\\d{4}) ${TIME} GMT$`)
const RFC_850 = new RegExp(
  `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\\d\\d)-${MONTH}-(\\d\\d) ${TIME} GMT$`,
)
const ASCTIME = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${MONTH} ([ \\d]\\d) ${TIME} (\\d{4})$`)

let cachedSecond = Number.NaN
let cachedDate = ''

/**
 * The time as the `Date` field wants it (IMF-fixdate, RFC 9110 §5.6.7), such as
 * `Sun, 06 Nov 1994 08:49:37 GMT`.
 *
 * The text is made once per second and kept, so a call per response costs a clock read.
 *
 * @param nowMs - Milliseconds since 1970; the clock by default.
 * @throws {RangeError} If `nowMs` is not within the years 0 to 9999.
 */
export function httpDate(nowMs: number = Date.now()): string {
  const second = Math.floor(nowMs / 1000)
  if (second === cachedSecond) return cachedDate
  if (!(second >= SECOND_MIN && second <= SECOND_MAX)) {
    throw new RangeError(`Time must be within the years 0 to 9999, received ${nowMs} ms`)
  }
  cachedDate = new Date(second * 1000).toUTCString()
  cachedSecond = second
  return cachedDate
}

/**
 * Reads a date in any of the three forms of RFC 9110 §5.6.7: IMF-fixdate, and the obsolete ones of RFC 850
 * and `asctime`, which recipients must still take.
 *
 * @param text - Trimmed. Anything else than the exact forms, or a day that no calendar has, is no date.
 * @param nowMs - Places a two-digit year: it is of the hundred years that end 50 years after `nowMs`.
 * @returns Milliseconds since 1970, or `undefined`.
 */
export function parseHttpDate(text: string, nowMs: number = Date.now()): number | undefined {
  let match = IMF_FIXDATE.exec(text)
  if (match !== null) {
    return timeOf(Number(match[3]), match[2] as string, Number(match[1]), match, 4)
  }
  match = RFC_850.exec(text)
  if (match !== null) {
    // The one year with these two digits among the 100 that end 50 years ahead.
    const ahead = new Date(nowMs).getUTCFullYear() + 50
    const year = ahead - ((((ahead - Number(match[3])) % 100) + 100) % 100)
    return timeOf(year, match[2] as string, Number(match[1]), match, 4)
  }
  match = ASCTIME.exec(text)
  if (match === null) return undefined
  return timeOf(Number(match[6]), match[1] as string, Number(match[2]), match, 3)
}

function timeOf(
  year: number,
  monthName: string,
  day: number,
  match: RegExpExecArray,
  clock: number,
): number | undefined {
  const month = MONTHS.indexOf(monthName) / 3
  const hour = Number(match[clock])
  const minute = Number(match[clock + 1])
  const second = Number(match[clock + 2])
  // 60 is a leap second, which Date.UTC carries into the next minute.
  if (hour > 23 || minute > 59 || second > 60) return undefined
  const date = new Date(0)
  date.setUTCFullYear(year, month, day)
  if (date.getUTCMonth() !== month || date.getUTCDate() !== day) return undefined
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000
}
