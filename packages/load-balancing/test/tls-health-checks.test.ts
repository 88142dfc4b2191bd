import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Backend, HttpHealthCheck, TcpHealthCheck } from '@cirque/load-balancing'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

const signal = new AbortController().signal
const pem = (name: string) => readFile(new URL(`data/${name}`, import.meta.url), 'utf8')
const ca = await pem('a-example.pem')
const key = await pem('a-example-key.pem')

let server: Server
let backend: Backend
let serverNames: (string | false | null | undefined)[] = []

beforeAll(async () => {
  server = createServer({ cert: ca, key }, (_request, response) => response.end('well'))
  server.on('secureConnection', (socket: TLSSocket) => serverNames.push(socket.servername))
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  backend = new Backend(`127.0.0.1:${(server.address() as AddressInfo).port}`)
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

test('HTTPS with the host as server name', async () => {
  serverNames = []
  await new HttpHealthCheck({ host: 'a.example', tls: { ca } }).check(backend, signal)
  await new HttpHealthCheck({ host: 'a.example', tls: { ca }, reuseConnection: true }).check(backend, signal)
  expect(serverNames).toEqual(['a.example', 'a.example'])
})

test('HTTPS refuses a certificate that is not trusted, or of another name', async () => {
  await expect(
    new HttpHealthCheck({ host: 'a.example', tls: true }).check(backend, signal),
  ).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  await expect(
    new HttpHealthCheck({ host: 'b.example', tls: { ca } }).check(backend, signal),
  ).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  await expect(new HttpHealthCheck({ tls: { ca } }).check(backend, signal)).rejects.toMatchObject({
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  })
})

test('TLS without HTTP: the handshake counts', async () => {
  serverNames = []
  await new TcpHealthCheck({ tls: { ca, servername: 'a.example' } }).check(backend, signal)
  await vi.waitFor(() => expect(serverNames).toEqual(['a.example']))
  await expect(
    new TcpHealthCheck({ tls: { servername: 'a.example' } }).check(backend, signal),
  ).rejects.toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
})
