import { createConnection } from 'node:net'
import { expect } from 'vitest'
import { get, RawClient } from '../../support/client.ts'
import { until } from '../../support/waiting.ts'
import { H2Peer, valuesOf } from './h2-wire.ts'
import { readResponses } from './readers.ts'

/** What a client got for its only request. */
export interface Answer {
  /** 0 for none. */
  readonly status: number
  /** Of HTTP/1 only. */
  readonly reason: string
  readonly tag: string | undefined
  readonly body: string
  /** It has ended in order. */
  readonly complete: boolean
  /** All that came, as text. */
  readonly received: string
}

/** A GET request of either version on a connection of its own, and what it comes to. */
export function ask(version: 1 | 2, port: number, target: string, what: string): Promise<Answer> {
  return (version === 1 ? askHttp1 : askHttp2)(port, target, `${what} leaves its client waiting`)
}

async function askHttp1(port: number, target: string, complaint: string): Promise<Answer> {
  await using client = new RawClient(port)
  client.write(get(target))
  const read = () => readResponses(client.received, ['GET'], client.ended)
  await until(() => client.ended || client.closed || read().responses[0]?.complete === true, complaint)
  const { responses, rest } = read()
  const [response] = responses
  const { received } = client
  if (response === undefined)
    return { status: 0, reason: '', tag: undefined, body: '', complete: false, received }
  expect(rest).toBe('')
  const { status, reason, fields, body, complete } = response
  return { status, reason, tag: fields['x-tag'], body, complete, received }
}

async function askHttp2(port: number, target: string, complaint: string): Promise<Answer> {
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
    reason: '',
    tag: valuesOf(final, 'x-tag')[0],
    body: stream.body,
    complete: stream.ended,
    received: `${stream.heads.flat().join(' ')} ${stream.body}`,
  }
}
