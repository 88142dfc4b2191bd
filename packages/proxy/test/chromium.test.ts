import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { WebSocketServer } from 'ws'
import { CERTIFICATE_FILES } from './support/certificate.ts'
import { startProxy } from './support/proxy.ts'
import { gate } from './support/waiting.ts'

/** What the browser opens. It posts what it saw to `/report`. */
const PAGE = readFileSync(join(import.meta.dirname, 'support/chromium.html'))

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function startOrigin(report: (text: string) => void) {
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    switch (incoming.url) {
      case '/':
        response.setHeader('Content-Type', 'text/html').end(PAGE)
        break
      case '/upload':
        response.end(String((await bodyOf(incoming)).length))
        break
      case '/report':
        report(String(await bodyOf(incoming)))
        response.end()
        break
      case '/endless': {
        const timer = setInterval(() => response.write('x'.repeat(1_000)), 5)
        response.on('close', () => clearInterval(timer))
        break
      }
      case '/events':
        response.setHeader('Content-Type', 'text/event-stream')
        for (const data of ['a', 'b', 'c']) {
          response.write(`data: ${data}\n\n`)
          await delay(5)
        }
        break
      default:
        response.end(incoming.url)
    }
  }
  const server = createServer((incoming, response) => {
    answer(incoming, response).catch(() => response.destroy())
  }).listen(0, '127.0.0.1')
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.on('message', (data) => socket.send(String(data)))
  })
  await once(server, 'listening')
  return {
    peer: new HttpPeer(`127.0.0.1:${(server.address() as AddressInfo).port}`),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets.clients) socket.terminate()
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Opens the page in a browser of its own, which ends with the scope. */
function openBrowser(url: string): AsyncDisposable {
  const profile = mkdtempSync(join(tmpdir(), 'cirque-chromium-'))
  const flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--ignore-certificate-errors',
    `--user-data-dir=${profile}`,
  ]
  const browser = spawn('chromium', [...flags, url], { stdio: 'ignore', detached: true })
  const ended = once(browser, 'exit')
  return {
    async [Symbol.asyncDispose]() {
      // It has children of its own.
      process.kill(-(browser.pid ?? 0), 'SIGKILL')
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
}

const isMissing = spawnSync('chromium', ['--version']).status !== 0
if (isMissing) process.stderr.write('Tests with Chromium are skipped: it is not installed\n')

test.skipIf(isMissing).each([
  { http2: true, protocol: 'h2', streamed: '500000', socket: 'HTTP/2' },
  { http2: false, protocol: 'http/1.1', streamed: undefined, socket: 'HTTP/1.1' },
])(
  'Chromium over $protocol: requests, uploads, an abort, events, a WebSocket',
  { timeout: 60_000 },
  async (expected) => {
    const reported = gate<string>()
    await using origin = await startOrigin((text) => reported.open(text))
    let socket = ''
    await using proxy = await startProxy(
      {
        upstreamPeer(session) {
          const { version, target } = session.request
          if (target === '/socket') socket = version
          return origin.peer
        },
      },
      { server: { http2: expected.http2 } },
      CERTIFICATE_FILES,
    )
    await using _browser = openBrowser(`https://localhost:${proxy.port}/`)
    expect(JSON.parse(await reported.promise)).toEqual({
      resources: 150,
      uploaded: '3000000',
      protocols: [expected.protocol],
      streamed: expected.streamed,
      aborted: true,
      events: ['a', 'b', 'c'],
      echo: ['hello', 1000, true],
    })
    expect(socket).toBe(expected.socket)
  },
)
