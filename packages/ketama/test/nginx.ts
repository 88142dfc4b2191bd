import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Bucket } from '../src/index.ts'

/** A real nginx that tells which server it would choose; see data/README.md for how. */
export interface Nginx {
  readonly version: string
  /** The servers, in nginx's `$upstream_addr` spelling, for keys in the set of that index. */
  choose(set: number, keys: readonly Buffer[]): Promise<string[]>
  [Symbol.asyncDispose](): Promise<void>
}

const BATCH = 256

/** Debian keeps nginx in a folder that is not on every user's PATH. */
const PROGRAM: string = existsSync('/usr/sbin/nginx') ? '/usr/sbin/nginx' : 'nginx'

/** The version of the installed nginx, or null without one. */
export function nginxVersion(): string | null {
  const { stderr } = spawnSync(PROGRAM, ['-v'], { encoding: 'utf8' })
  return /nginx\/([\d.]+)/.exec(stderr ?? '')?.[1] ?? null
}

/** True where loopback has IPv6. */
export function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((one) => one.address === '::1'))
}

/** How nginx spells the address that it connects to for a `server` line. */
export function upstreamAddress(address: string): string {
  return address.startsWith('unix:') || /:\d+$/.test(address) ? address : `${address}:80`
}

/** Starts nginx on a Unix socket in a folder of its own. */
export async function startNginx(sets: readonly (readonly Bucket[])[]): Promise<Nginx> {
  const version = nginxVersion()
  if (version === null) throw new Error('nginx is not installed')
  const folder = mkdtempSync(join(tmpdir(), 'ketama-nginx-'))
  const socketPath = join(folder, 'front.sock')
  writeFileSync(join(folder, 'nginx.conf'), configuration(sets, folder, socketPath))
  const child = spawn(
    PROGRAM,
    ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')],
    {
      stdio: 'ignore',
    },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const socket = await open(socketPath, child, join(folder, 'error.log'))
  return {
    version,
    choose: (set, keys) => choose(socket, set, keys),
    async [Symbol.asyncDispose]() {
      socket.destroy()
      child.kill('SIGTERM')
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function configuration(sets: readonly (readonly Bucket[])[], folder: string, socketPath: string): string {
  const upstreams = sets.map((buckets, set) => {
    const servers = buckets.map(
      ({ address, weight = 1 }) => `server ${address} weight=${weight} max_fails=0;`,
    )
    return `upstream set${set} { hash $arg_k consistent; ${servers.join('\n')} }`
  })
  const locations = sets.map((_, set) => `location =/${set} { proxy_pass http://set${set}; }`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(folder, kind)};`,
  )
  return `
    daemon off; master_process off; pid ${join(folder, 'nginx.pid')};
    error_log ${join(folder, 'error.log')} emerg;
    events { worker_connections 64; }
    http {
      access_log off; ${temporary.join(' ')}
      keepalive_requests 10000000; keepalive_timeout 600s;
      proxy_next_upstream off; proxy_connect_timeout 1s; proxy_read_timeout 1s;
      proxy_intercept_errors on; recursive_error_pages off;
      error_page 301 302 400 401 403 404 405 500 502 503 504 = @chosen;
      ${upstreams.join('\n')}
      server {
        listen unix:${socketPath};
        ${locations.join('\n')}
        location @chosen { add_header X-Chosen $upstream_addr always; return 204; }
      }
    }`
}

/** Connects as soon as nginx listens; the file appears a moment before. */
async function open(socketPath: string, child: ChildProcess, logPath: string): Promise<Socket> {
  for (
    const deadline = Date.now() + 5_000;
    Date.now() < deadline && child.exitCode === null;
    await delay(10)
  ) {
    if (!existsSync(socketPath)) continue
    const socket = connect(socketPath)
    const opened = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    if (opened) return socket
  }
  throw new Error(`nginx did not start: ${existsSync(logPath) ? readFileSync(logPath, 'utf8') : 'no log'}`)
}

/** Pipelines the requests on one connection, a batch at a time. */
async function choose(socket: Socket, set: number, keys: readonly Buffer[]): Promise<string[]> {
  const chosen: string[] = []
  for (let start = 0; start < keys.length; start += BATCH) {
    const batch = keys.slice(start, start + BATCH)
    const requests = batch.flatMap((key) => [
      Buffer.from(`GET /${set}?k=`),
      key,
      Buffer.from(' HTTP/1.1\r\nHost: a\r\n\r\n'),
    ])
    chosen.push(...(await exchange(socket, Buffer.concat(requests), batch.length)))
  }
  return chosen
}

function exchange(socket: Socket, requests: Buffer, count: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const end = () => reject(new Error(`nginx closed the connection after: ${text.slice(-500)}`))
    let text = ''
    const read = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const heads = text.split('\r\n\r\n')
      if (heads.length <= count) return
      socket.off('data', read).off('close', end)
      resolve(heads.slice(0, count).map((head) => /X-Chosen: (.*)/.exec(head)?.[1] ?? `none in: ${head}`))
    }
    socket.on('data', read).on('close', end)
    socket.write(requests)
  })
}
