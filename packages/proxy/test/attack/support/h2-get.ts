import { createConnection } from 'node:net'
import { expect } from 'vitest'
import { until } from '../../support/waiting.ts'
import { H2Peer, valuesOf } from './h2-wire.ts'

/** What a client of HTTP/2 got for its only request. */
export interface H2Answer {
  /** 0 for none. */
  readonly status: number
  readonly tag: string | undefined
  readonly body: string
  /** The stream has ended in order. */
  readonly complete: boolean
}

/** Asks for `target` on a connection of its own, and waits for the end of the stream, or of the connection. */
export async function getOverH2(port: number, target: string, complaint: string): Promise<H2Answer> {
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  const peer = new H2Peer(socket, 'client')
  peer.headers(1, [':method', 'GET', ':scheme', 'http', ':path', target, ':authority', 'a'], true)
  const stream = peer.stream(1)
  await until(() => stream.ended || stream.reset >= 0 || peer.closed || socket.readableEnded, complaint)
  socket.destroy()
  expect(peer.violations).toEqual([])
  const final = stream.heads.find((fields) => Number(valuesOf(fields, ':status')[0]) >= 200) ?? []
  return {
    status: Number(valuesOf(final, ':status')[0] ?? 0),
    tag: valuesOf(final, 'x-tag')[0],
    body: stream.body,
    complete: stream.ended,
  }
}
