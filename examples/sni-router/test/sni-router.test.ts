import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type Server } from 'node:tls'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'

const certificates = join(import.meta.dirname, '../../../packages/core/test/data')
const tls = {
  cert: readFileSync(join(certificates, 'localhost.pem')),
  key: readFileSync(join(certificates, 'localhost-key.pem')),
}

/** A TLS server that says its name. */
async function site(name: string): Promise<Server & AsyncDisposable> {
  const server = createServer(tls, (socket) => {
    socket.on('error', () => undefined)
    socket.end(name)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function addressOf(server: Server): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function ask(address: string, servername: string): Promise<string> {
  const [host = '', port] = address.split(':')
  const socket = connect({ host, port: Number(port), servername, rejectUnauthorized: false })
  let text = ''
  try {
    for await (const chunk of socket) text += String(chunk)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? ''
  }
  return text
}

test('TLS goes where its name says, untouched; other names are reset, or go to --fallback', async () => {
  await using a = await site('a')
  await using b = await site('b')
  const routes = ['--route', `a.example=${addressOf(a)}`, '--route', `*.b.example=${addressOf(b)}`]
  await using proxy = new ExampleProcess('sni-router', ['--ba', '127.0.0.1:0', ...routes])
  const address = await proxy.address()
  expect(await ask(address, 'a.example')).toBe('a')
  expect(await ask(address, 'www.b.example')).toBe('b')
  expect(await ask(address, 'c.example')).toBe('ECONNRESET')
  await using other = new ExampleProcess('sni-router', ['--ba', '127.0.0.1:0', '--fallback', addressOf(a)])
  expect(await ask(await other.address(), 'c.example')).toBe('a')
})
