import { type Attack, KIB, MIB, talk } from './attack.ts'

const get = (path: string, ...fields: readonly string[]) =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`
const CHUNKED = 'POST /silent HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
/** The most that may wait on each side of an exchange: a read of 256 KiB, one that follows, and their accounts. */
const IN_FLIGHT = 800 * KIB
const CHUNKS = '1\r\ny\r\n'.repeat(2_000)
const UPGRADE = ['Connection: upgrade', 'Upgrade: websocket'] as const
/** A masked frame of WebSocket with one byte of text. */
const TINY_FRAMES = Buffer.from('8181000000007a', 'hex').toString('latin1').repeat(1_000)

/** Names and values that are dear where a table of them is not made for strangers. */
const KEYS: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'valueOf',
  // What is like an index was hashed by its value: all of these fall into one place of a table.
  ...Array.from({ length: 240 }, (_, index) => String((index + 1) * 65_536)),
]

/** What clients of HTTP/1 and their origins may do. */
export const HTTP1_ATTACKS: Readonly<Record<string, Attack>> = {
  'idle connections': talk({ clients: 600, bytesMax: 12 * KIB }),
  'connections that come and go': talk({ clients: 100, backMs: 1, leaveMs: 1, bytesMax: 40 * KIB }),
  'slow heads': talk({ clients: 300, opening: 'GET / HTTP/1.1\r\n', drip: 'X: y\r\n', bytesMax: 16 * KIB }),
  'heads without end': talk({
    opening: `GET / HTTP/1.1\r\nX: ${'y'.repeat(60 * KIB)}`,
    bytesMax: 150 * KIB,
  }),
  'heads of a thousand fields': talk({
    opening: `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(1_000)}\r\n`,
    bytesMax: 16 * KIB,
  }),
  'fields and keys that collide': talk({
    clients: 20,
    endless: true,
    next: (round, index) =>
      get(
        `/keys?${(round * 20 + index) * 4_096}`,
        `X-Key: ${(round * 20 + index) * 4_096}`,
        ...KEYS.map((key) => `${key}: ${key}`),
      ),
    bytesMax: IN_FLIGHT,
  }),
  'slow bodies': talk({
    opening: 'POST /silent HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n',
    drip: 'y',
    bytesMax: 40 * KIB,
  }),
  'bodies in chunks of one byte': talk({
    clients: 20,
    opening: CHUNKED,
    next: () => CHUNKS,
    bytesMax: IN_FLIGHT,
  }),
  'requests in a row, and no response taken': talk({
    opening: get('/fair').repeat(20_000),
    deaf: true,
    bytesMax: IN_FLIGHT,
  }),
  'readers that take nothing': talk({ opening: get('/endless'), deaf: true, bytesMax: IN_FLIGHT }),
  'an origin that sends chunks of one byte': talk({
    clients: 2,
    opening: get('/tiny'),
    endless: true,
    bytesMax: 2 * MIB,
  }),
  'tunnels whose clients take nothing': talk({
    opening: get('/tunnel', ...UPGRADE),
    deaf: true,
    bytesMax: IN_FLIGHT,
  }),
  'many tunnels': talk({ clients: 300, opening: get('/echo', ...UPGRADE), bytesMax: 60 * KIB }),
  'tunnels of tiny WebSocket frames': talk({
    clients: 20,
    opening: get('/echo', ...UPGRADE),
    next: () => Buffer.from(TINY_FRAMES, 'latin1'),
    endless: true,
    bytesMax: IN_FLIGHT,
  }),
  'an origin that sends 1xx without end': talk({
    opening: get('/interim'),
    deaf: true,
    bytesMax: 1_200 * KIB,
  }),
  ...Object.fromEntries(
    ['gzip', 'br', 'zstd'].map((coding) => [
      `bodies of ${coding} that unfold a thousandfold`,
      talk({ clients: 10, opening: get(`/bomb-${coding}`), bytesMax: 4 * MIB }),
    ]),
  ),
  'a body that unfolds a hundredfold, without end': talk({
    clients: 4,
    opening: get('/unfold'),
    bytesMax: 6 * MIB,
  }),
}
