import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { type ClientSession, WRITE_DONE, WRITE_PAUSE } from '../src/index.ts'
import { makeCertificate } from './support/certificates.ts'
import { turn } from './support/raw-client.ts'
import { Recorder, requestOf, startConnector, startUpstream } from './support/upstream.ts'

const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'

// A failed write takes the news of a reset with it: the read after it finds the end of the stream, as if there were one.
test.each([
  ['a body that ends with its connection', false, 'HTTP/1.1 200 OK\r\n\r\nhalf'],
  ['a tunnel', true, `${SWITCH}half`],
] as const)('a reset of which only a write has heard is no end of %s', async (_name, upgrade, answer) => {
  let peer: Socket | undefined
  await using upstream = await startUpstream((socket) => {
    peer = socket
    socket.once('data', () => socket.write(answer))
  })
  await using connector = startConnector()
  const session = await connector.session(upstream.peer())
  const recorder = new Recorder()
  recorder.result = WRITE_PAUSE
  session.handler = recorder
  session.sendHead(requestOf(upgrade ? 'GET' : 'POST'), upgrade ? 0 : -1, upgrade)
  session.flush()
  while (recorder.bodyBytes === 0) await turn()
  // Nothing is read: the reset is there, and nobody has heard of it.
  peer?.resetAndDestroy()
  while (peer?.closed !== true) await turn()
  session.writeBody(Buffer.from('more'), 0, 4)
  session.flush()
  recorder.result = WRITE_DONE
  session.resumeResponse()
  await Promise.race([recorder.done, turnsUntil(() => recorder.ended)])
  expect([recorder.body, recorder.ended, recorder.error?.code]).toEqual(['half', false, 'CONNECTION_CLOSED'])
})

async function turnsUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

/** Ends its side as soon as the tunnel is open. */
class EarlyEnder extends Recorder {
  session: ClientSession | undefined

  override onResponseHead(...args: Parameters<Recorder['onResponseHead']>): void {
    super.onResponseHead(...args)
    this.session?.endRequest(null)
  }
}

test('whoever ends a tunnel over TLS while its first records are read gets all of them', async () => {
  const text = 'welcome '.repeat(5_000)
  const { cert, key } = makeCertificate({ dnsNames: ['localhost'] })
  await using upstream = await startUpstream(
    (socket) => void socket.once('data', () => socket.end(SWITCH + text)),
    { cert, key, allowHalfOpen: true },
  )
  await using connector = startConnector()
  const session = await connector.session(
    upstream.peer({ tls: true, sni: 'localhost', verifyCertificate: false }),
  )
  const recorder = new EarlyEnder()
  recorder.session = session
  session.handler = recorder
  session.sendHead(requestOf('GET', '/', [['Upgrade', 'echo']]), 0, true)
  session.flush()
  await recorder.done
  connector.release(session)
  expect(recorder.error).toBeUndefined()
  expect(recorder.body.length).toBe(text.length)
  expect(recorder.body === text).toBe(true)
})
