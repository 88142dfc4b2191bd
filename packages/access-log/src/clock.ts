const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

let localSecond = -1
let localText = ''
let isoSecond = -1
let isoText = ''

/** `21/Nov/2026:10:46:53 +0100`, as Apache and nginx write it, in the time zone of the process. */
export function localTime(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second !== localSecond) {
    const date = new Date(second * 1000)
    const month = MONTHS[date.getMonth()] as string
    const day = `${two(date.getDate())}/${month}/${date.getFullYear()}`
    localText = `${day}:${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())} ${zone(date, '')}`
    localSecond = second
  }
  return localText
}

/** `2026-11-21T10:46:53+01:00`, as nginx writes it, in the time zone of the process. */
export function isoTime(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second !== isoSecond) {
    const date = new Date(second * 1000)
    const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
    isoText = `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${zone(date, ':')}`
    isoSecond = second
  }
  return isoText
}

function zone(date: Date, separator: string): string {
  const minutes = -date.getTimezoneOffset()
  const ahead = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(ahead / 60))}${separator}${two(ahead % 60)}`
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}
