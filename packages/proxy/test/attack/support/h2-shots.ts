import type { Dice } from './dice.ts'
import { bait, tunnelTarget, wish } from './requests.ts'
import { taggedBody } from './tagged-origin.ts'

/** A request as an HTTP/2 client of the attack sends it, and what may come of it. */
export interface H2Shot {
  readonly id: string
  readonly method: string
  readonly target: string
  readonly fields: readonly string[]
  /** The body, frame by frame; null when HEADERS ends the stream. */
  readonly parts: readonly string[] | null
  readonly trailers: readonly string[] | null
  /**
   * - `good`: it arrives as it was meant, once.
   * - `doubtful`: nothing of it arrives, or all of it without its bad field.
   * - `bad-head`: nothing of it arrives.
   * - `bad-body`: it arrives, if at all, without its end, or with `body` where that had its declared length.
   * - `fatal`: the connection ends with it.
   * - `tunnel`: it asks for a WebSocket (RFC 8441), and `parts` are raw: they arrive after a switch of protocols only.
   */
  readonly kind: 'good' | 'doubtful' | 'bad-head' | 'bad-body' | 'fatal' | 'tunnel'
  /** What the origin may read as its whole body. */
  readonly body: string | null
  /** What is done to the stream after its parts. */
  readonly finish: 'end' | 'reset'
  /** In a tunnel: what is sent once it stands; null when all is sent at once, its end too. */
  readonly late: readonly string[] | null
  readonly raw: ((stream: number) => readonly (readonly [number, number, number, string])[]) | null
}

const BAD_FIELDS: readonly (readonly string[])[] = [
  ['transfer-encoding', 'chunked'],
  ['transfer-encoding', 'identity'],
  ['connection', 'close'],
  ['connection', 'x-y'],
  ['connection', 'transfer-encoding'],
  ['keep-alive', '5'],
  ['proxy-connection', 'keep-alive'],
  ['upgrade', 'websocket'],
  ['upgrade', 'h2c'],
  ['te', 'gzip'],
  ['te', 'trailers, chunked'],
  ['host', 'b'],
  ['host', 'a', 'host', 'a'],
  ['host', ''],
  ['content-length', '5', 'content-length', '6'],
  ['content-length', '5, 5'],
  ['content-length', '+5'],
  ['content-length', '-1'],
  ['content-length', '0x5'],
  ['content-length', ''],
  ['content-length', '99999999999999999999'],
  ['X-Upper', 'y'],
  [':foo', 'y'],
  [':path', '/other'],
  [':method', 'GET'],
  [':status', '200'],
]

/** Octets that would end a line or a field in HTTP/1: the engine may refuse the request or leave the field out. */
const BAD_OCTETS: readonly (readonly string[])[] = [
  ['', 'y'],
  ['x:y', 'y'],
  ['x y', 'y'],
  ['host', 'a, b'],
  ['x-bad', 'a\r\nx-injected: 1'],
  ['x-bad', 'a\nx-injected: 1'],
  ['x-bad', 'a\rx-injected: 1'],
  ['x-bad', 'a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['x-bad', 'a\0b'],
  ['x-bad\r\nx-injected', '1'],
  ['x-bad: 1\r\nx-injected', '1'],
  ['x-bad\0', '1'],
  ['x-bad ', '1'],
  ['transfer-encoding\0', 'chunked'],
  ['transfer-encoding ', 'chunked'],
  ['content-length\t', '5'],
  ['transfer-encoding\r\n', 'chunked'],
]

const BAD_PSEUDO: readonly ((target: string) => readonly string[])[] = [
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path],
  (path) => [':method', 'GET', ':path', path, ':authority', 'a'],
  (path) => [':scheme', 'http', ':path', path, ':authority', 'a'],
  () => [':method', 'GET', ':scheme', 'http', ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'ftp', ':path', path, ':authority', 'a'],
  (path) => [':method', 'G ET', ':scheme', 'http', ':path', path, ':authority', 'a'],
  (path) => [':method', `GET ${path} HTTP/1.1\r\nX: y`, ':scheme', 'http', ':path', path, ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', `${path} HTTP/1.1`, ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', `${path}\r\nX: y`, ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', `${path}#x`, ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path.slice(1), ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', `http://a${path}`, ':authority', 'a'],
  () => [':method', 'GET', ':scheme', 'http', ':path', '', ':authority', 'a'],
  () => [':method', 'GET', ':scheme', 'http', ':path', '*', ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'u@a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a/b'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a b'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a\r\nX: y'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', ''],
  (path) => [':method', 'CONNECT', ':scheme', 'http', ':path', path, ':authority', 'a'],
  () => [':method', 'CONNECT', ':authority', 'a:80'],
  (path) => ['x-first', 'y', ':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a'],
  (path) => [':method', 'GET', ':scheme', 'http', ':path', path, ':authority', 'a', ':path', path],
]

/** Frames that end a connection: type, flags, stream, payload. */
const FATAL: readonly ((id: number) => readonly (readonly [number, number, number, string])[])[] = [
  (id) => [[0x0, 0, id, 'x']],
  () => [[0x1, 0x5, 2, '\x82']],
  (id) => [[0x9, 0x4, id, '']],
  (id) => [
    [0x1, 0x1, id, '\x82'],
    [0x0, 0, id, 'x'],
  ],
  (id) => [[0x1, 0x5, id, '\xff\xff\xff\xff\xff\xff']],
  (id) => [[0x1, 0x5, id, '\xbf']],
  (id) => [[0x5, 0x4, id, '\0\0\0\x02\x82']],
  () => [[0x0, 0, 0, 'x']],
  () => [[0x8, 0, 0, '\0\0\0\0']],
  () => [[0x4, 0, 0, '12345']],
  () => [[0x4, 0, 1, '']],
  () => [[0x6, 0, 0, 'short']],
  (id) => [[0x3, 0, id, '\0\0\0\0']],
  () => [[0x8, 0, 0, '\x7f\xff\xff\xff']],
]

function payload(dice: Dice, id: string): string {
  const shape = dice.next()
  if (shape < 0.3) return `0${bait(id)}`
  if (shape < 0.36) return `${id}.`.repeat(dice.integer(5_000, 20_000))
  return taggedBody(id, dice.integer(1, 400))
}

function split(dice: Dice, body: string): string[] {
  const parts: string[] = []
  for (let at = 0; at < body.length; ) {
    const size = dice.chance(0.2) ? 1 : dice.integer(1, Math.max(1, body.length))
    parts.push(body.slice(at, at + size))
    at += size
    if (dice.chance(0.1)) parts.push('')
  }
  return parts
}

/** What a tunnel carries to the origin. */
const early = (id: string) => `early ${id}${bait(id)}`

export function shootH2(dice: Dice, id: string, tunnels = false): H2Shot {
  const target = `/${id}?${wish(dice)}`
  const base = { id, target, trailers: null, body: null, finish: 'end', raw: null, late: null } as const
  const pseudo = (method: string, path = target) => [
    ':method',
    method,
    ':scheme',
    'http',
    ':path',
    path,
    ':authority',
    'a',
  ]
  const choice = dice.next()
  if (choice < 0.08) {
    const fields = [...pseudo('POST'), ...dice.pick(BAD_FIELDS)]
    return { ...base, method: 'POST', fields, parts: [`0${bait(id)}`], kind: 'bad-head' }
  }
  if (choice < 0.14) {
    const fields = dice.pick(BAD_PSEUDO)(target)
    return {
      ...base,
      method: 'GET',
      fields,
      parts: dice.chance(0.5) ? null : [`0${bait(id)}`],
      kind: 'bad-head',
    }
  }
  if (choice < 0.2) {
    const body = payload(dice, id)
    const fields = [...pseudo('PUT'), ...dice.pick(BAD_OCTETS)]
    return { ...base, method: 'PUT', fields, parts: split(dice, body), body, kind: 'doubtful' }
  }
  if (choice < 0.3) return badBody(dice, { ...base, method: 'PUT', fields: pseudo('PUT') })
  if (choice < 0.33)
    return { ...base, method: 'GET', fields: [], parts: null, kind: 'fatal', raw: dice.pick(FATAL) }
  if (tunnels && choice < 0.43) {
    const target = tunnelTarget(dice, id)
    const fields = [...pseudo('CONNECT', target), ':protocol', 'websocket', 'x-check', id]
    const parts = dice.chance(0.7) ? split(dice, early(id)) : []
    const late = dice.chance(0.7) ? split(dice, payload(dice, id)) : null
    const finish = late !== null && dice.chance(0.2) ? 'reset' : 'end'
    return { ...base, target, method: 'GET', fields, parts, late, finish, body: '', kind: 'tunnel' }
  }
  return goodShot(dice, base, target)
}

function badBody(dice: Dice, base: Omit<H2Shot, 'kind' | 'parts'>): H2Shot {
  const body = payload(dice, base.id)
  const length = (bytes: number) => [...base.fields, 'content-length', String(bytes)]
  const shot = { ...base, kind: 'bad-body' } as const
  switch (dice.integer(0, 6)) {
    case 0:
      return { ...shot, fields: length(body.length + 5), parts: split(dice, body) }
    case 1:
      // What has come up to the declared length is a whole request already when the surplus arrives.
      return { ...shot, fields: length(body.length), parts: [...split(dice, body), bait(base.id)], body }
    case 2:
      return { ...shot, fields: length(5), parts: null }
    case 3:
      return { ...shot, parts: split(dice, body), trailers: [':path', '/smuggled'] }
    case 4:
      return { ...shot, parts: split(dice, body), trailers: ['transfer-encoding', 'chunked'], body }
    case 5:
      return { ...shot, fields: length(body.length + 1), parts: split(dice, body), finish: 'reset' }
    default:
      return { ...shot, parts: split(dice, body), finish: 'reset' }
  }
}

function goodShot(
  dice: Dice,
  base: Omit<H2Shot, 'kind' | 'parts' | 'fields' | 'method'>,
  target: string,
): H2Shot {
  const { id } = base
  const upload = dice.chance(0.6)
  const method = upload
    ? dice.pick(['POST', 'PUT', 'PATCH', 'GET', 'DELETE'])
    : dice.pick(['GET', 'GET', 'HEAD', 'DELETE', 'OPTIONS', 'BREW'])
  const fields = [':method', method, ':scheme', 'http', ':path', target]
  // Either says where it goes (RFC 9113 §8.3.1), and both may.
  const named = dice.next()
  if (named < 0.85) fields.push(':authority', 'a')
  if (named > 0.75) fields.push('host', 'a')
  fields.push('x-check', id)
  if (dice.chance(0.15)) fields.push('cookie', 'a=b', 'cookie', 'c=d')
  if (dice.chance(0.2)) fields.push('te', 'trailers')
  if (dice.chance(0.1)) fields.push('x-content-length', '7')
  if (!upload) return { ...base, method, fields, parts: null, body: '', kind: 'good' }
  const body = dice.chance(0.1) ? '' : payload(dice, id)
  if (dice.chance(0.5)) fields.push('content-length', String(body.length))
  if (dice.chance(0.1)) fields.push('expect', '100-continue')
  const parts = body === '' ? [''] : split(dice, body)
  const trailing = dice.next()
  const trailers = trailing < 0.15 ? ['x-trailer', 't'] : null
  if (trailing < 0.05) {
    // Trailers that speak of framing or routing are left out, or the whole request is.
    const forbidden = dice.pick(['host', 'content-length', 'transfer-encoding', 'te', 'authorization'])
    return {
      ...base,
      method,
      fields,
      parts,
      trailers: ['x-trailer', 't', forbidden, '9'],
      body,
      kind: 'doubtful',
    }
  }
  return { ...base, method, fields, parts, trailers, body, kind: 'good' }
}
