import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { get } from '../support/client.ts'
import {
  attacked,
  fairWait,
  givenBack,
  KIB,
  MIB,
  TIMEOUT_MS,
  usage,
  withAttackedProxy,
} from './support/attacked-proxy.ts'

const CLIENTS = 100

withAttackedProxy()

interface Attack {
  readonly clients?: number
  /** What each client sends, at once. */
  readonly opening: string
  /** What it sends every 100 ms from then on. */
  readonly drip?: string
  /** It takes no responses. */
  readonly deaf?: boolean
  /** It takes all that an origin sends, for ever: no timeout has a reason to end it. */
  readonly endless?: boolean
  /** What one client may cost, in bytes. */
  readonly bytesMax: number
}

const CHUNKED = 'POST /silent HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
/** The most that may wait on each side of an exchange: a read of 256 KiB, one that follows, and their accounts. */
const IN_FLIGHT = 800 * KIB

const ATTACKS: Record<string, Attack> = {
  'idle connections': { clients: 600, opening: '', bytesMax: 12 * KIB },
  'slow heads': { clients: 300, opening: 'GET / HTTP/1.1\r\n', drip: 'X: y\r\n', bytesMax: 16 * KIB },
  'heads without end': { opening: `GET / HTTP/1.1\r\nX: ${'y'.repeat(60 * KIB)}`, bytesMax: 150 * KIB },
  'heads of a thousand fields': {
    opening: `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(1_000)}\r\n`,
    bytesMax: 16 * KIB,
  },
  'slow bodies': {
    opening: 'POST /silent HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n',
    drip: 'y',
    bytesMax: 40 * KIB,
  },
  'bodies in chunks of one byte': {
    clients: 20,
    opening: CHUNKED + '1\r\ny\r\n'.repeat(50 * KIB),
    bytesMax: IN_FLIGHT,
  },
  'requests in a row, and no response taken': {
    opening: get('/fair').repeat(20_000),
    deaf: true,
    bytesMax: IN_FLIGHT,
  },
  'readers that take nothing': { opening: get('/endless'), deaf: true, bytesMax: IN_FLIGHT },
  'an origin that sends chunks of one byte': {
    clients: 2,
    opening: get('/tiny'),
    endless: true,
    bytesMax: 2 * MIB,
  },
  'tunnels whose clients take nothing': {
    opening: get('/tunnel', 'Connection: upgrade', 'Upgrade: x'),
    deaf: true,
    bytesMax: IN_FLIGHT,
  },
  'an origin that sends 1xx without end': { opening: get('/interim'), deaf: true, bytesMax: 1_200 * KIB },
}

async function openAll({ clients = CLIENTS, opening, deaf = false }: Attack): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let i = 0; i < clients; i++) {
    const socket = createConnection({ port: attacked.port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => undefined)
    if (deaf) socket.pause()
    else socket.resume()
    socket.write(opening)
    sockets.push(socket)
  }
  await sleep(100)
  return sockets
}

test.each(Object.entries(ATTACKS))(
  '%s: memory stays bounded and is given back, and others are served',
  async (_name, attack) => {
    const sockets = await openAll(attack)
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write(attack.drip ?? '')
    }, 100)
    const wait = await fairWait()
    const during = await usage()
    clearInterval(drip)
    expect(attacked.exited).toBeNull()
    expect(during.bytes - attacked.quiet.bytes).toBeLessThan(sockets.length * attack.bytesMax + 4 * MIB)
    expect(wait).toBeLessThan(Math.max(150, 5 * attacked.quietWait))
    for (const socket of sockets) socket.destroy()
    const after = await givenBack()
    expect(after).toMatchObject({ active: 0, connections: 0, upstreams: 0 })
    expect(after.bytes - attacked.quiet.bytes).toBeLessThan(16 * MIB)
  },
  TIMEOUT_MS,
)

test(
  'nobody has to leave: timeouts end every one of them',
  async () => {
    const sockets: Socket[] = []
    for (const attack of Object.values(ATTACKS)) {
      if (attack.endless !== true) sockets.push(...(await openAll({ ...attack, clients: 4 })))
    }
    const after = await givenBack()
    expect(after).toMatchObject({ active: 0, connections: 0, upstreams: 0 })
    for (const socket of sockets) socket.destroy()
  },
  TIMEOUT_MS,
)
