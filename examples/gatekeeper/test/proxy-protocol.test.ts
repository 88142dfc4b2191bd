import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { TestUpstream } from '../../../scripts/test-support/test-upstream.ts'

const REQUEST = 'GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

async function exchange(address: string, text: string): Promise<string> {
  const [host = '', port] = address.split(':')
  const socket = connect(Number(port), host)
  let received = ''
  socket.on('error', () => undefined)
  socket.on('data', (data) => {
    received += String(data)
  })
  socket.write(text)
  await new Promise((resolve) => socket.once('close', resolve))
  return received
}

test('--proxy-protocol: serves connections that begin with a header, and resets all others', async () => {
  await using upstream = await TestUpstream.start((_request, response) => response.end('hello'))
  await using proxy = new ExampleProcess('gatekeeper', [
    ...['--ba', '127.0.0.1:0', '--pa', upstream.address, '--proxy-protocol'],
  ])
  const address = await proxy.address()
  expect(await exchange(address, `PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n${REQUEST}`)).toMatch(/hello/)
  expect(await exchange(address, REQUEST)).toBe('')
  expect(upstream.requestCount).toBe(1)
})
