import { expect, test } from 'vitest'
import { turn } from './support/raw-client.ts'
import { Recorder, requestOf, startConnector, startUpstream } from './support/upstream.ts'

test.each([0, 3, -1])(
  'what is written after the end of a request goes nowhere (declared: %d)',
  async (length) => {
    let received = ''
    await using upstream = await startUpstream((socket) => {
      socket.on('end', () => socket.end())
      socket.on('data', (data) => {
        received += data.toString('latin1')
        if (received.endsWith(length < 0 ? '0\r\n\r\n' : length === 0 ? '\r\n\r\n' : 'abc')) {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
        }
      })
    })
    await using connector = startConnector()
    const session = await connector.session(upstream.peer())
    const recorder = new Recorder()
    session.handler = recorder
    session.sendHead(requestOf('POST'), length, false)
    if (length !== 0) session.writeBody(Buffer.from('abc'), 0, 3)
    session.endRequest(null)
    session.flush()
    await recorder.done
    const before = received
    for (const late of [Buffer.from('xx'), Buffer.alloc(5_000, 'x')]) session.writeBody(late, 0, late.length)
    connector.release(session)
    session.writeBody(Buffer.from('xx'), 0, 2)
    session.flush()
    for (let i = 0; i < 20; i++) await turn()
    expect(received).toBe(before)
    expect(recorder.error).toBeUndefined()
    const next = connector.acquire(upstream.peer())
    expect(next).not.toBeNull()
    next?.destroy()
  },
)
