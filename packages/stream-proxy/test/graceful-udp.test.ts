import { spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { datagramDescriptor, stopReceiving } from '@cirque/core'
import { describe, expect, test } from 'vitest'
import { exitOf, UpgradeScene } from '../../core/test/support/upgrade-scene.ts'

const PROGRAM = join(import.meta.dirname, 'programs/graceful-udp.ts')
const UPGRADES = Number(process.env['CIRQUE_UPGRADES'] ?? 3)
/** Rounds of one datagram per client and address, one every 10 ms. */
const CLIENTS = 5
/** The origin takes this long, so that answers are always under way. */
const ORIGIN_MS = 15

/** Datagrams for which the kernel had no room, of all processes: with a busy machine, half a second is too long. */
function droppedByKernel(): number {
  const rows = readFileSync('/proc/net/snmp', 'latin1')
    .split('\n')
    .filter((row) => row.startsWith('Udp: '))
  const [names = [], values = []] = rows.map((row) => row.split(' '))
  const six = /^Udp6RcvbufErrors\s+(\d+)$/m.exec(readFileSync('/proc/net/snmp6', 'latin1'))?.[1]
  return Number(values[names.indexOf('RcvbufErrors')]) + Number(six)
}

async function bound(type: 'udp4' | 'udp6', address: string): Promise<Socket> {
  const socket = createSocket({ type, recvBufferSize: 4_194_304 })
  socket.bind(0, address)
  await once(socket, 'listening')
  return socket
}

test.skipIf(process.platform !== 'linux')('a socket of systemd is taken by its address', async () => {
  const origin = await bound('udp4', '127.0.0.1')
  origin.on('message', (message, from) => origin.send(message, from.port, from.address))
  // Bound by somebody else, who never reads from it: as systemd does.
  const activated = await bound('udp4', '127.0.0.1')
  stopReceiving(activated)
  const { port } = activated.address()
  const client = await bound('udp4', '127.0.0.1')
  const program = spawn(
    'sh',
    [
      '-c',
      'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"',
      process.execPath,
      '--conditions=@cirque/source',
      PROGRAM,
    ],
    {
      stdio: ['ignore', 'inherit', 'inherit', datagramDescriptor(activated)],
      env: { ...process.env, PEER: `127.0.0.1:${origin.address().port}`, LISTEN: `127.0.0.1:${port}` },
    },
  )
  try {
    // What came before the service was up waits in the socket.
    const answered = once(client, 'message')
    client.send('early', port, '127.0.0.1')
    expect(String((await answered)[0])).toBe('early')
    program.kill('SIGTERM')
    expect(await exitOf(program)).toBe(0)
  } finally {
    program.kill('SIGKILL')
    for (const socket of [origin, activated, client]) socket.close()
  }
})

const hasIpv6 = existsSync('/proc/net/if_inet6')

describe.skipIf(process.platform !== 'linux' || !hasIpv6)('upgrades under UDP clients', () => {
  test(`${UPGRADES} upgrades lose no datagram and no answer`, {
    timeout: 60_000 + UPGRADES * 6000,
  }, async () => {
    const origin = await bound('udp4', '127.0.0.1')
    origin.on('message', (message, from) => {
      setTimeout(() => origin.send(message, from.port, from.address), ORIGIN_MS)
    })
    const clients: Socket[] = []
    let isStopping = false
    const droppedBefore = droppedByKernel()
    try {
      await using scene = new UpgradeScene({
        program: PROGRAM,
        env: { PEER: `127.0.0.1:${origin.address().port}` },
      })
      const ports = await scene.start()
      const unanswered = new Set<string>()
      let sent = 0
      for (const [index, port] of ports.entries()) {
        for (let count = 0; count < CLIENTS; count += 1) {
          const client = await bound(index === 0 ? 'udp4' : 'udp6', index === 0 ? '127.0.0.1' : '::1')
          client.on('message', (message) => unanswered.delete(String(message)))
          client.connect(port, index === 0 ? '127.0.0.1' : '::1')
          await once(client, 'connect')
          clients.push(client)
        }
      }
      const sending = (async () => {
        while (!isStopping) {
          for (const client of clients) {
            sent += 1
            unanswered.add(String(sent))
            client.send(String(sent))
          }
          await delay(10)
        }
      })()
      for (let count = 0; count < UPGRADES; count += 1) {
        const { status } = await scene.upgrade()
        expect(status, scene.log).toBe(0)
        await scene.settled()
      }
      isStopping = true
      await sending
      for (let waited = 0; unanswered.size > 0 && waited < 2000; waited += 20) await delay(20)
      // Each datagram that the kernel dropped is a request or an answer less, and no fault of an upgrade.
      const dropped = droppedByKernel() - droppedBefore
      if (unanswered.size > dropped) {
        expect([...unanswered], `${sent} were sent, ${dropped} dropped\n${scene.log}`).toEqual([])
      }
      expect(sent).toBeGreaterThan(UPGRADES * 100)
      if (process.env['CIRQUE_UPGRADES'] !== undefined)
        process.stderr.write(`${sent} sent, ${unanswered.size} lost, ${dropped} dropped by the kernel\n`)
    } finally {
      isStopping = true
      origin.close()
      for (const client of clients) client.close()
    }
  })
})
