import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'

/** A TCP server that answers its client's end with its name and what it got. */
async function named(name: string): Promise<Server & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let text = ''
    socket.on('data', (data) => {
      text += String(data)
    })
    socket.on('end', () => socket.end(`${name}: ${text}`))
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function addressOf(server: Server): string {
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function send(address: string, text: string): Promise<string> {
  const [host = '', port] = address.split(':')
  const socket = connect({ host, port: Number(port), allowHalfOpen: true })
  socket.end(text)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

test('takes the backends in turn, and another one when one is gone', async () => {
  await using one = await named('one')
  const two = await named('two')
  await using proxy = new ExampleProcess('tcp-proxy', [
    ...['--ba', '127.0.0.1:0', '--pa', addressOf(one), '--pa', addressOf(two)],
  ])
  const address = await proxy.address('TCP proxy')
  const answers = [await send(address, 'hi'), await send(address, 'hi')]
  expect(answers.toSorted()).toEqual(['one: hi', 'two: hi'])
  two.close()
  for (let index = 0; index < 4; index++) expect(await send(address, 'hi')).toBe('one: hi')
})

test('--send-proxy tells the peer who the client is', async () => {
  await using upstream = await named('upstream')
  await using proxy = new ExampleProcess('tcp-proxy', [
    ...['--ba', '127.0.0.1:0', '--pa', addressOf(upstream), '--send-proxy', '1'],
  ])
  expect(await send(await proxy.address('TCP proxy'), 'hi')).toMatch(
    /^upstream: PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\nhi$/,
  )
})
