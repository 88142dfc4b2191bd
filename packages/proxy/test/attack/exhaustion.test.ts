import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, get } from '../support/client.ts'
import type { Usage } from './programs/proxy.ts'

const KIB = 1_024
const MIB = 1_024 * KIB
const CLIENTS = 100
/** For a machine that is busy with something else. */
const TIMEOUT_MS = 90_000

let fair: ChildProcess
let evil: ChildProcess
let child: ChildProcess
let port = 0
let quiet: Usage
/** How long a fair client waits while nobody attacks. */
let quietWait = 0
let exited: string | null = null

/** Starts a program and gives what it sends first: its port. */
async function start(program: string, ...args: readonly string[]): Promise<[ChildProcess, number]> {
  const started = fork(join(import.meta.dirname, 'programs', program), args, {
    execArgv: ['--conditions=@cirque/source', '--expose-gc'],
  })
  const [given] = (await once(started, 'message')) as [number]
  return [started, given]
}

beforeAll(async () => {
  const [startedFair, fairPort] = await start('origin.ts')
  const [startedEvil, evilPort] = await start('origin.ts')
  fair = startedFair
  evil = startedEvil
  const addresses = [`127.0.0.1:${fairPort}`, `127.0.0.1:${evilPort}`]
  const [startedProxy, proxyPort] = await start('proxy.ts', ...addresses)
  child = startedProxy
  port = proxyPort
  child.on('exit', (code, signal) => {
    exited = `${code ?? signal}`
  })
  for (let i = 0; i < 50; i++) await ask(port, get('/fair'))
  quietWait = await fairWait()
  quiet = await usage()
})

afterAll(async () => {
  const programs = [child, fair, evil].filter(({ connected }) => connected)
  const ended = Promise.all(programs.map((program) => once(program, 'exit')))
  for (const program of programs) program.disconnect()
  await ended
})

async function usage(): Promise<Usage> {
  child.send('usage')
  const [given] = (await once(child, 'message')) as [Usage]
  return given
}

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

/**
 * How long a fair client waits while others attack, in milliseconds: the median of at least 20 requests. A burst
 * of the attackers' may hold up one of them, and so may whatever else this machine does.
 */
async function fairWait(): Promise<number> {
  const waits: number[] = []
  const since = performance.now()
  while (waits.length < 20 || performance.now() - since < 200) {
    const started = performance.now()
    const { status, body } = await ask(port, get('/fair'))
    expect([status, body]).toEqual([200, 'fair'])
    waits.push(performance.now() - started)
    await sleep(2)
  }
  waits.sort((one, other) => one - other)
  return waits[waits.length >> 1] as number
}

async function openAll({ clients = CLIENTS, opening, deaf = false }: Attack): Promise<Socket[]> {
  const sockets: Socket[] = []
  for (let i = 0; i < clients; i++) {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => undefined)
    if (deaf) socket.pause()
    else socket.resume()
    socket.write(opening)
    sockets.push(socket)
  }
  await sleep(100)
  return sockets
}

async function givenBack(): Promise<Usage> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const now = await usage()
    const clean = now.active === 0 && now.connections === 0 && now.upstreams === 0
    if ((clean && now.bytes < quiet.bytes + 16 * MIB) || performance.now() > deadline) return now
    await sleep(50)
  }
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
    expect(exited).toBeNull()
    expect(during.bytes - quiet.bytes).toBeLessThan(sockets.length * attack.bytesMax + 4 * MIB)
    expect(wait).toBeLessThan(Math.max(150, 5 * quietWait))
    for (const socket of sockets) socket.destroy()
    const after = await givenBack()
    expect(after).toMatchObject({ active: 0, connections: 0, upstreams: 0 })
    expect(after.bytes - quiet.bytes).toBeLessThan(16 * MIB)
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
