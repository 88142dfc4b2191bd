import type { Dice } from './dice.ts'

/** A request as a client of the attack sends it, and what may come of it. */
export interface Shot {
  readonly id: string
  /** Its head, and what follows the head. */
  readonly head: string
  readonly rest: string
  readonly method: string
  /**
   * - `good`: it arrives at the origin as it was meant, once.
   * - `bad-head`: nothing of it arrives.
   * - `bad-body`: it arrives, if at all, without its end.
   * - `tunnel`: it asks for a switch of protocols; `rest` is raw.
   * - `refused`: the same, where there is no such tunnel: it is refused, or answered as if it had not asked.
   */
  readonly kind: 'good' | 'bad-head' | 'bad-body' | 'tunnel' | 'refused'
  /** What the origin must read as its body. */
  readonly body: string
  /** The client said that nothing follows: what does anyway is nobody's request. */
  readonly last: boolean
  /** The body is sent only after 100 or a final response. */
  readonly waits: boolean
  /** The key of the WebSocket that it asks for, or the empty string. */
  readonly key: string
}

/** What the origin is asked to do, as part of the target. */
export function wish(dice: Dice): string {
  const framing = dice.pick(['length', 'length', 'chunked', 'chunked', 'close', 'empty', 'none'])
  const size = dice.chance(0.1) ? dice.integer(60_000, 200_000) : dice.integer(0, 400)
  const when = dice.chance(0.12) ? 'early' : dice.chance(0.2) ? 'later' : 'end'
  const interim = dice.chance(0.1) ? dice.integer(1, 3) : 0
  return `f=${framing}&n=${size}&w=${when}&i=${interim}&r=${dice.chance(0.15) ? 1 : 0}`
}

/** For what asks for a tunnel: most of them are opened. */
export function tunnelTarget(dice: Dice, id: string): string {
  const wished = wish(dice)
  return `/${id}?${dice.chance(0.6) ? wished.replace(/f=[a-z]+/, 'f=length') : wished}`
}

/** Text that would do harm if anybody read it as a request. */
export function bait(id: string): string {
  return `\r\n\r\nGET /smuggled-${id} HTTP/1.1\r\nHost: a\r\n\r\n`
}

function payload(dice: Dice, id: string): string {
  const shape = dice.next()
  if (shape < 0.3) return `0${bait(id)}`
  if (shape < 0.4) return `${id}.`.repeat(dice.integer(5_000, 20_000))
  return `${id}.`.repeat(dice.integer(1, 60))
}

function inChunks(dice: Dice, body: string): string {
  let text = ''
  for (let at = 0; at < body.length; ) {
    const size = Math.min(
      body.length - at,
      dice.chance(0.2) ? 1 : dice.integer(1, Math.max(1, body.length / 2)),
    )
    const hex = size.toString(16)
    const spelled = dice.chance(0.2) ? hex.toUpperCase() : dice.chance(0.1) ? `000${hex}` : hex
    text += `${spelled}${dice.chance(0.1) ? ';name="va;lue"' : ''}\r\n${body.slice(at, at + size)}\r\n`
    at += size
  }
  return `${text}0\r\n${dice.chance(0.2) ? 'X-Trailer: t\r\n' : ''}\r\n`
}

/** Field lines, and a body behind them, that no two readers must understand differently: refused with the head. */
const BAD_FRAMING: readonly string[] = [
  'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked\r\nContent-Length: 0\r\n',
  'Content-Length: 0\r\nContent-Length: 5\r\n',
  'Content-Length: 5\r\nContent-Length: 5\r\n',
  'Content-Length: 5, 5\r\n',
  'Content-Length: +5\r\n',
  'Content-Length: -1\r\n',
  'Content-Length: 0x5\r\n',
  'Content-Length: 5 \t5\r\n',
  'Content-Length:\r\n',
  'Content-Length: 9007199254740993\r\n',
  'Content-Length: 5\rX: y\r\n',
  'Content-Length: 5\nX: y\r\n',
  'Content-Length : 5\r\n',
  ' Content-Length: 5\r\n',
  'X: y\r\n Content-Length: 5\r\n',
  'Transfer-Encoding : chunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding: gzip, chunked\r\n',
  'Transfer-Encoding: chunked,\r\n',
  'Transfer-Encoding: \x0bchunked\r\n',
  'Transfer-Encoding: chunked\x00\r\n',
  'Transfer-Encoding: "chunked"\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding:\r\n chunked\r\n',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
  'Transfer\u00adEncoding: chunked\r\n',
  'Transfer_Encoding\x00: chunked\r\n',
  'Connection: Content-Length\r\nContent-Length: 5\r\n',
  'Connection: close, Host\r\n',
  'Host: b\r\n',
  'X: \x00\r\n',
  ': empty\r\n',
  'no colon\r\n',
]

const BAD_START: readonly ((target: string) => string)[] = [
  (target) => `GET ${target} HTTP/1.1\r\n\r\n`,
  (target) => `GET ${target} HTTP/1.1\nHost: a\n\n`,
  (target) => `GET  ${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target} x HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target}\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target} HTTP/2.0\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target} HTTP/1.1 \r\nHost: a\r\n\r\n`,
  (target) => `GET ${target} http/1.1\r\nHost: a\r\n\r\n`,
  (target) => `G\x00T ${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target}\r HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET ${target}#x HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET http://b${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) => `GET http://u:p@a${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
  (target) =>
    `POST ${target} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n`,
  (target) => `\x16\x03\x01 ${target}\r\n\r\n`,
  (target) => `\r\n\r\n\r\nGET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
]

/** Chunked bodies with a fault in them; `DATA` is some payload. */
const BAD_CHUNKS: readonly string[] = [
  '+4\r\nDATA\r\n0\r\n\r\n',
  '0x4\r\nDATA\r\n0\r\n\r\n',
  '4 \r\nDATA\r\n0\r\n\r\n',
  ' 4\r\nDATA\r\n0\r\n\r\n',
  '4\nDATA\n0\n\n',
  '4\r\nDATA0\r\n\r\n',
  '4\r\nDATAX\r\n0\r\n\r\n',
  '4\r\nDATA\n0\r\n\r\n',
  '4\r\nDATA\r0\r\n\r\n',
  '-4\r\nDATA\r\n0\r\n\r\n',
  '\r\nDATA\r\n0\r\n\r\n',
  ';x\r\nDATA\r\n0\r\n\r\n',
  '4;x\nDATA\r\n0\r\n\r\n',
  '4;x\rDATA\r\n0\r\n\r\n',
  '10000000000000004\r\nDATA\r\n0\r\n\r\n',
  'FFFFFFFFFFFFFFFF\r\nDATA\r\n0\r\n\r\n',
  '4\r\nDATA\r\n0\r\nContent-Length: 9\r\n\r\n',
  '4\r\nDATA\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n',
  '4\r\nDATA\r\n0\r\nHost: b\r\n\r\n',
  '4\r\nDATA\r\n0\r\nX : y\r\n\r\n',
  '4\r\nDATA\r\n0\r\nX: y\n\r\n',
  '4\r\nDATA\r\n0\r\n\n',
  '4\r\nDATA\r\n0\r\n\rX',
]

/** Any request: most are good ones, in all the ways in which one may be sent. */
export function shoot(dice: Dice, id: string): Shot {
  const target = `/${id}?${wish(dice)}`
  const shot = {
    id,
    method: 'GET',
    body: '',
    rest: '',
    last: false,
    waits: false,
    kind: 'good',
    key: '',
  } as const
  const choice = dice.next()
  if (choice < 0.05) {
    const head = dice.pick(BAD_START)(target)
    return { ...shot, head, rest: `0${bait(id)}`, kind: 'bad-head', last: true }
  }
  if (choice < 0.13) {
    const head = `POST ${target} HTTP/1.1\r\nHost: a\r\n${dice.pick(BAD_FRAMING)}\r\n`
    return { ...shot, method: 'POST', head, rest: `0${bait(id)}`, kind: 'bad-head', last: true }
  }
  if (choice < 0.19) {
    const head = `PUT ${target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
    const rest = dice.pick(BAD_CHUNKS).replace('DATA', 'data') + bait(id)
    return { ...shot, method: 'PUT', head, rest, body: 'data', kind: 'bad-body', last: true }
  }
  if (choice < 0.28) {
    const target = tunnelTarget(dice, id)
    const protocol = dice.pick(['websocket', 'websocket', 'websocket', 'raw', 'h2c', 'raw, h2c'])
    const key = protocol === 'websocket' ? Buffer.from(id.padEnd(16, '.').slice(-16)).toString('base64') : ''
    const fields = key === '' ? '' : `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n`
    const head = `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n${fields}\r\n`
    const rest = dice.chance(0.7) ? `early ${id}${bait(id)}` : ''
    return { ...shot, head, rest, kind: 'tunnel', last: true, key }
  }
  return goodShot(dice, target, shot)
}

function goodShot(dice: Dice, target: string, shot: Omit<Shot, 'head'>): Shot {
  const { id } = shot
  const old = dice.chance(0.1)
  const version = old ? 'HTTP/1.0' : 'HTTP/1.1'
  const form = dice.chance(0.1) ? `http://a${target}` : target
  const before = dice.chance(0.05) ? '\r\n' : ''
  const close = dice.chance(0.06)
  // What says nothing of framing must not change it.
  const odd = dice.pick([
    '',
    '',
    '',
    'X-Content-Length: 7\r\n',
    'Content-Length2: 7\r\n',
    'TE: trailers\r\n',
    'Keep-Alive: 9\r\n',
  ])
  const keep = old && !close ? 'Connection: keep-alive\r\n' : close && !old ? 'Connection: close\r\n' : ''
  const fields = `Host: a\r\n${odd}${keep}`
  const last = close
  const kind = dice.next()
  if (kind < 0.4) {
    const method = dice.pick(['GET', 'GET', 'HEAD', 'DELETE', 'OPTIONS', 'BREW'])
    return { ...shot, method, head: `${before}${method} ${form} ${version}\r\n${fields}\r\n`, last }
  }
  const method = dice.pick(['POST', 'PUT', 'PATCH', 'GET', 'DELETE'])
  const body = kind < 0.47 ? '' : payload(dice, id)
  const waits = !old && body !== '' && dice.chance(0.12)
  const expect = waits ? 'Expect: 100-continue\r\n' : ''
  const start = `${before}${method} ${form} ${version}\r\n${fields}${expect}`
  if (old || kind < 0.73) {
    return {
      ...shot,
      method,
      body,
      rest: body,
      waits,
      last,
      head: `${start}Content-Length: ${body.length}\r\n\r\n`,
    }
  }
  const rest = inChunks(dice, body)
  return { ...shot, method, body, rest, waits, last, head: `${start}Transfer-Encoding: chunked\r\n\r\n` }
}
