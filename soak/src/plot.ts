/** One line of a panel; a point may be missing. */
interface Series {
  readonly name: string
  readonly values: readonly (number | undefined)[]
}

/** Lines over the same time that share an axis. */
export interface Panel {
  readonly title: string
  readonly series: readonly Series[]
}

const WIDTH = 900
const PANEL_HEIGHT = 190
const LEFT = 64
const RIGHT = 26
const TOP = 34
const BOTTOM = 22
const COLOURS = ['#0b6bcb', '#c2410c', '#15803d', '#7c3aed', '#be123c']

/**
 * An SVG with a panel below the other.
 *
 * @param seconds - When each value was taken, rising.
 */
export function plot(title: string, seconds: readonly number[], panels: readonly Panel[]): string {
  const height = panels.length * PANEL_HEIGHT + 30
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escapeText(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="20" font-size="15" fill="#111111">${escapeText(title)}</text>`,
  ]
  for (const [index, panel] of panels.entries()) {
    parts.push(
      `<g transform="translate(0 ${30 + index * PANEL_HEIGHT})">`,
      ...drawPanel(panel, seconds),
      '</g>',
    )
  }
  return `${parts.join('\n')}\n</svg>\n`
}

function drawPanel({ title, series }: Panel, seconds: readonly number[]): string[] {
  const last = Math.max(seconds.at(-1) ?? 1, 1e-9)
  const top = niceAbove(
    Math.max(0, ...series.flatMap(({ values }) => values.filter((value) => value !== undefined))),
  )
  const x = (second: number): string => (LEFT + (second / last) * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const y = (value: number): string =>
    (PANEL_HEIGHT - BOTTOM - (value / top) * (PANEL_HEIGHT - TOP - BOTTOM)).toFixed(1)
  const parts: string[] = [
    `<text x="${LEFT}" y="18" font-weight="600" fill="#111111">${escapeText(title)}</text>`,
  ]
  for (let step = 0; step <= 4; step += 1) {
    const value = (top * step) / 4
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#e5e7eb"/>`,
      `<text x="${LEFT - 6}" y="${y(value)}" dy="4" text-anchor="end" fill="#4b5563">${label(value)}</text>`,
    )
    const second = (last * step) / 4
    parts.push(
      `<text x="${x(second)}" y="${PANEL_HEIGHT - 6}" text-anchor="middle" fill="#4b5563">${clock(second)}</text>`,
    )
  }
  let legend = WIDTH - RIGHT
  for (const [index, { name, values }] of [...series.entries()].reverse()) {
    const colour = COLOURS[index % COLOURS.length] as string
    const points = values.flatMap((value, at) =>
      value === undefined ? [] : [`${x(seconds[at] as number)},${y(value)}`],
    )
    parts.push(
      `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
      `<text x="${legend}" y="18" text-anchor="end" fill="${colour}">${escapeText(name)}</text>`,
    )
    legend -= name.length * 7 + 16
  }
  return parts
}

/** The next of 1, 2, 4, 5 or 10 times a power of ten. */
function niceAbove(value: number): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return ([1, 2, 4, 5, 10].find((factor) => factor * power >= value) ?? 10) * power
}

function label(value: number): string {
  return String(Number(value.toPrecision(3)))
}

function clock(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
