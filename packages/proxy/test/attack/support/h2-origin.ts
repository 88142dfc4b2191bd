import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { settings } from '../../../../../scripts/test-support/http2-frames.ts'
import { startRawUpstream } from '../../support/upstream.ts'
import { H2Peer, type H2Stream } from './h2-wire.ts'
import type { SeenRequest } from './readers.ts'
import { type TaggedOrigin, taggedBody, wishOf } from './tagged-origin.ts'

/** Fields that have no place in HTTP/2 (RFC 9113 §8.2.2), and `host`, which repeats `:authority`. */
const FOREIGN = /^(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings|host)$/

/** The same as `startTaggedOrigin`, over HTTP/2. */
export async function startTaggedH2Origin(tls = false): Promise<TaggedOrigin> {
  const readers: { seen: SeenRequest[]; tunnel: null }[] = []
  const violations: string[] = []
  const upstream = await startRawUpstream(
    (socket) => serve(socket, readers, violations),
    tls ? ['h2'] : undefined,
  )
  return { ...upstream, readers, violations }
}

function serve(socket: Socket, readers: { seen: SeenRequest[]; tunnel: null }[], violations: string[]): void {
  socket.setNoDelay(true)
  const reader = { seen: [] as SeenRequest[], tunnel: null }
  readers.push(reader)
  const requests = new Map<H2Stream, SeenRequest>()
  const complain = (what: string) => void violations.push(what)
  const peer: H2Peer = new H2Peer(
    socket,
    'server',
    {
      onHead(stream, fields) {
        if (stream.heads.length > 1) {
          const request = requests.get(stream)
          for (let i = 0; i < fields.length; i += 2) request?.trailers.push(fields[i] as string)
          return
        }
        const request = readHead(fields, complain)
        requests.set(stream, request)
        reader.seen.push(request)
        const { when } = wishOf(request.target)
        if (request.fields.has('expect') && when !== 'early')
          peer.headers(stream.id, [':status', '100'], false)
        if (when === 'early') void answer(peer, stream, request)
      },
      onEnd(stream) {
        const request = requests.get(stream)
        if (request === undefined) return
        request.body = stream.body
        request.complete = true
        const length = request.fields.get('content-length')?.[0]
        if (length !== undefined && Number(length) !== stream.body.length)
          complain(`a body of another length than ${length}`)
        const { when } = wishOf(request.target)
        if (when === 'later') void sleep(request.target.length % 4).then(() => answer(peer, stream, request))
        else if (when !== 'early') void answer(peer, stream, request)
      },
    },
    settings([3, 100]),
  )
  socket.on('end', () => socket.end())
  socket.on('close', () => {
    violations.push(...peer.violations)
    for (const [stream, request] of requests) request.body = stream.body
  })
}

function readHead(list: readonly string[], complain: (what: string) => void): SeenRequest {
  const pseudo = new Map<string, string>()
  const fields = new Map<string, string[]>()
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string
    const value = list[i + 1] as string
    if (name.startsWith(':')) {
      if (pseudo.has(name) || fields.size > 0) complain(`misplaced ${name}`)
      pseudo.set(name, value)
      continue
    }
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name) || FOREIGN.test(name)) complain(`the field ${name}`)
    if (/[\r\n\0]|^[ \t]|[ \t]$/.test(value)) complain(`the value of ${name}`)
    if (name === 'te' && value !== 'trailers') complain(`te: ${value}`)
    fields.set(name, [...(fields.get(name) ?? []), value])
  }
  const expected = [':authority', ':method', ':path', ':scheme']
  if ([...pseudo.keys()].toSorted().join() !== expected.join())
    complain(`pseudo-fields ${[...pseudo.keys()]}`)
  if ((fields.get('content-length') ?? []).length > 1) complain('two lengths')
  if (pseudo.get(':authority') !== 'a') complain(`:authority ${pseudo.get(':authority')}`)
  return {
    method: pseudo.get(':method') ?? '',
    target: pseudo.get(':path') ?? '',
    fields,
    trailers: [],
    body: '',
    complete: false,
  }
}

async function answer(peer: H2Peer, stream: H2Stream, request: SeenRequest): Promise<void> {
  const { id, framing, size, interim } = wishOf(request.target)
  for (let i = 0; i < interim; i++) peer.headers(stream.id, [':status', '103', 'link', '</x>'], false)
  const body = request.method === 'HEAD' || framing === 'none' ? '' : taggedBody(id, size)
  const head = [':status', framing === 'none' ? '204' : '200', 'x-tag', id]
  if (framing === 'length' || framing === 'empty') head.push('content-length', String(size))
  peer.headers(stream.id, head, body === '')
  if (body === '') return
  const half = Math.ceil(body.length / 2)
  peer.data(stream.id, body.slice(0, half), false)
  await sleep(0)
  peer.data(stream.id, body.slice(half), true)
}
