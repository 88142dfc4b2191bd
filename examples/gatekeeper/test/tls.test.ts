import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { request } from 'node:https'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

const data = join(import.meta.dirname, '../../../packages/core/test/data')
const certFile = join(data, 'localhost.pem')
const keyFile = join(data, 'localhost-key.pem')
const ca = readFileSync(certFile)

test('--cert and --key: TLS for clients, with HTTP/1.1 and HTTP/2', async () => {
  await using upstream = await TestUpstream.saying('through')
  const argv = ['--ba', '127.0.0.1:0', '--pa', upstream.address, '--cert', certFile, '--key', keyFile]
  await using gatekeeper = new ExampleProcess('gatekeeper', argv)
  const [host, port] = (await gatekeeper.address()).split(':')

  const outgoing = request({ host, port, servername: 'localhost', ca, agent: false })
  outgoing.end()
  const [response] = await once(outgoing, 'response')
  expect(response.statusCode).toBe(200)
  response.resume()

  const client = connectHttp2(`https://${host}:${port}`, { ca, servername: 'localhost' })
  const stream = client.request({ ':path': '/' })
  const [headers] = await once(stream, 'response')
  expect(headers[':status']).toBe(200)
  expect(client.alpnProtocol).toBe('h2')
  stream.resume()
  await once(stream, 'close')
  client.destroy()
})
