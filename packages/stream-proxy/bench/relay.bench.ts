/**
 * CPU time per GiB of a whole proxy process, relaying one connection, beside HAProxy in TCP mode where it is installed.
 *
 *   node --conditions=@cirque/source packages/stream-proxy/bench/relay.bench.ts [GiB] [rounds]
 *
 * Every part is a process of its own; times are utime + stime of the proxy's from /proc, so Linux only.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConfiguration, silentLogger } from '@cirque/core'
import { StreamPeer, tcpProxyService } from '../src/index.ts'

/** Its program, if it is installed. */
const RIVAL: string = 'haproxy'

const COMMAND_BYTES = 32
const BLOCK = Buffer.alloc(1 << 18)
const TICKS_PER_SECOND = 100 // of /proc, on every Linux that Node.js runs on

async function send(socket: Socket, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += BLOCK.length) {
    if (!socket.write(BLOCK)) await once(socket, 'drain')
  }
  socket.end()
}

/** Sends as many bytes as the first line asks for, then takes what comes and tells how much it was. */
async function origin(): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined) // HAProxy resets what was only a probe
    let count = 0
    socket.once('data', (data: Buffer) => {
      const [verb, bytes] = String(data.subarray(0, COMMAND_BYTES)).split(' ')
      if (verb === 'GET') void send(socket, Number(bytes))
      else {
        count = data.length - COMMAND_BYTES
        socket.on('data', (more) => (count += more.length))
      }
    })
    socket.on('end', () => {
      if (!socket.writableEnded) socket.end(String(count))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
}

async function proxy(originPort: string): Promise<void> {
  const service = tcpProxyService(createConfiguration(), {
    upstreamPeer: () => new StreamPeer(`127.0.0.1:${originPort}`),
  })
  service.addTcp('127.0.0.1:0')
  const shutdown = new AbortController().signal
  await service.start({ configuration: createConfiguration(), logger: silentLogger, shutdown })
  const [address] = service.endpoints()
  process.stdout.write(`${address?.kind === 'tcp' ? address.port : 0}\n`)
}

function child(...argv: string[]): ChildProcess {
  const self = [...process.execArgv, import.meta.filename, ...argv]
  return spawn(process.execPath, self, { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function portOf(started: ChildProcess): Promise<number> {
  const [line] = (await once(started.stdout as NonNullable<typeof started.stdout>, 'data')) as [Buffer]
  return Number(String(line))
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function haproxy(originPort: number, folder: string): Promise<[ChildProcess, number] | undefined> {
  if (spawnSync(RIVAL, ['-v']).status !== 0) return undefined
  const port = await freePort()
  const file = join(folder, 'haproxy.cfg')
  writeFileSync(
    file,
    `global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n` +
      `listen relay\n  bind 127.0.0.1:${port}\n  server origin 127.0.0.1:${originPort}\n`,
  )
  const started = spawn(RIVAL, ['-f', file, '-db'], { stdio: 'ignore' })
  for (;;) {
    const probe = connect(port, '127.0.0.1')
    const isUp = await new Promise((resolve) => {
      probe.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    probe.destroy()
    if (isUp) return [started, port]
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Moves the bytes through `port`, and checks that they arrived. */
async function move(port: number, verb: 'GET' | 'PUT', bytes: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.write(`${verb} ${bytes} `.padEnd(COMMAND_BYTES))
  let count = 0
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    count += chunk.length
    if (verb === 'PUT') text += String(chunk)
  })
  const ended = once(socket, 'end')
  if (verb === 'PUT') {
    await send(socket, bytes)
  }
  await ended
  socket.end()
  const arrived = verb === 'PUT' ? Number(text) : count
  if (arrived !== bytes) throw new Error(`${arrived} of ${bytes} bytes arrived`)
}

async function main(gibibytes: number, rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'relay-bench-'))
  const children: ChildProcess[] = []
  try {
    const originProcess = child('origin')
    children.push(originProcess)
    const originPort = await portOf(originProcess)
    const ours = child('proxy', String(originPort))
    children.push(ours)
    const rivals: [name: string, pid: number, port: number][] = [
      ['cirque', ours.pid ?? 0, await portOf(ours)],
    ]
    const other = await haproxy(originPort, folder)
    if (other === undefined) process.stdout.write('haproxy is not installed\n')
    else {
      children.push(other[0])
      rivals.push(['haproxy', other[0].pid ?? 0, other[1]])
    }
    process.stdout.write(
      `Node ${process.version}, ${cpus()[0]?.model}; CPU seconds per GiB, best of ${rounds}\n`,
    )
    for (const verb of ['GET', 'PUT'] as const) {
      const best = new Map<string, number>()
      for (let round = 0; round < rounds; round++) {
        for (const [name, pid, port] of rivals) {
          const before = cpuSeconds(pid)
          await move(port, verb, gibibytes * 2 ** 30)
          const seconds = (cpuSeconds(pid) - before) / gibibytes
          best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, seconds))
        }
      }
      const shown = [...best].map(([name, seconds]) => `${name} ${seconds.toFixed(2)}`).join(', ')
      const ratio = (best.get('cirque') ?? 0) / (best.get('haproxy') ?? Number.NaN)
      process.stdout.write(
        `${verb === 'GET' ? 'to the client' : 'to the upstream'}: ${shown}; ratio ${ratio.toFixed(2)}\n`,
      )
    }
  } finally {
    for (const started of children) started.kill()
    rmSync(folder, { recursive: true })
  }
}

const [role = '1', argument = '3'] = process.argv.slice(2)
if (role === 'origin') await origin()
else if (role === 'proxy') await proxy(argument)
else await main(Number(role), Number(argument))
