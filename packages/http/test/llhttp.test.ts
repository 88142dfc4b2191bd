import { createServer, type IncomingMessage, METHODS, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RequestHeadParser } from '../src/index.ts'
import { type Entry, expectedOf, readCorpus } from './corpus.ts'

/** What node:http's parser made of a head: its parts, or the refusal. */
type Seen = { method: string; target: string; fields: string[]; version: string } | 'refused'

/**
 * Entries that we accept and node:http refuses, each with the reason. Where it says "method", llhttp knows
 * a fixed list of methods; RFC 9110 §9.1 leaves the list open and a proxy passes on what it does not know.
 */
const REFUSED_BY_NODE: Readonly<Record<string, string>> = {
  'method: get': 'method',
  'method: FOO': 'method',
  "method: !#$%&'*+-.^_`|~9": 'method',
  [`method: ${'A'.repeat(32)}`]: 'method',
}

let server: Server
let port = 0
const waiting = new Map<number, (seen: Seen) => void>()

beforeAll(async () => {
  const report = (request: IncomingMessage, socket: Socket): void => {
    waiting.get(socket.remotePort as number)?.({
      method: request.method as string,
      target: request.url as string,
      fields: request.rawHeaders,
      version: `HTTP/${request.httpVersion}`,
    })
    socket.destroy()
  }
  server = createServer({ insecureHTTPParser: false }, (request) => report(request, request.socket))
  server.on('connect', (request: IncomingMessage) => report(request, request.socket))
  server.on('upgrade', (request: IncomingMessage) => report(request, request.socket))
  server.on('checkContinue', (request: IncomingMessage) => report(request, request.socket))
  server.on('clientError', (_error, socket) => {
    waiting.get((socket as Socket).remotePort as number)?.('refused')
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})

afterAll(async () => {
  server.closeAllConnections()
  await new Promise<void>((resolve) => server.close(() => resolve()))
})

function ask(raw: string): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      const own = socket.localPort as number
      const settle = (seen: Seen): void => {
        waiting.delete(own)
        socket.destroy()
        resolve(seen)
      }
      waiting.set(own, settle)
      // node:http answers some faults itself (missing Host, 417) without telling anyone.
      socket.on('data', () => settle('refused'))
      socket.on('close', () => settle('refused'))
      socket.write(raw, 'latin1')
    })
    socket.on('error', reject)
  })
}

describe('node:http in strict mode', () => {
  const accepted = readCorpus('requests').filter((entry) => entry.strict === 'accept')

  test.each(accepted)('reads the same as we do: $name', async (entry: Entry) => {
    const seen = await ask(entry.raw)
    if (entry.name in REFUSED_BY_NODE) {
      expect(seen).toBe('refused')
      return
    }
    const { method, target, fields, version } = expectedOf('requests', entry, 'strict').head as Record<
      string,
      unknown
    >
    expect(seen).toEqual({ method, target, fields, version })
  })

  test('a damaged head that we accept it reads the same', async () => {
    const base =
      'POST http://a/b?c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\nX: y\r\n\r\n'
    const odd = fc.constantFrom(
      ...[
        '\r',
        '\n',
        '\r\n',
        '\0',
        ' ',
        '\t',
        ':',
        ',',
        '\x0b',
        '\x80',
        '/',
        '@',
        '5',
        '\r\nHost: a',
        '\r\nExpect: 100-continue',
      ],
      ...[
        '\r\nTransfer-Encoding: chunked',
        '\r\nTransfer-Encoding:',
        ';',
        '"',
        '\\',
        '%',
        '[',
        '#',
        '?',
        '*',
        '',
      ],
    )
    const edit = fc.tuple(fc.integer({ min: 4, max: base.length }), fc.nat({ max: 3 }), odd)
    const parser = new RequestHeadParser()
    let compared = 0
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        let raw = base
        for (const [place, removed, put] of edits)
          raw = raw.slice(0, place) + put + raw.slice(place + removed)
        parser.reset()
        const bytes = Buffer.from(raw, 'latin1')
        const after = parser.execute(bytes, 0, bytes.length)
        if (after < 0) return
        const { method, target, version, fields } = parser.takeHeader()
        if (!METHODS.includes(method)) return
        compared++
        expect(await ask(raw.slice(0, after)), JSON.stringify(raw)).toEqual({
          method,
          target,
          version,
          fields,
        })
      }),
      { seed: 17, numRuns: 2000 },
    )
    expect(compared).toBeGreaterThan(100)
  })
})
