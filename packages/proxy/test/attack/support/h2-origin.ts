import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { settings } from '../../../../../scripts/test-support/http2-frames.ts'
import { startRawUpstream } from '../../support/upstream.ts'
import { H2Peer, type H2Stream, valuesOf } from './h2-wire.ts'
import type { SeenRequest } from './readers.ts'
import { type TaggedOrigin, taggedBody, tunnelText, type Wish, wishOf } from './tagged-origin.ts'
import { serveTunnel, type TunnelRecord } from './tunnels.ts'

/** Fields that have no place in HTTP/2 (RFC 9113 §8.2.2), and `host`, which repeats `:authority`. */
const FOREIGN = /^(?:connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings|host)$/

/** The same as `startTaggedOrigin`, over HTTP/2. */
export async function startTaggedH2Origin(tls = false): Promise<TaggedOrigin> {
  const readers: { seen: SeenRequest[] }[] = []
  const violations: string[] = []
  const tunnels = new Map<string, TunnelRecord>()
  const upstream = await startRawUpstream(
    (socket) => serve(socket, readers, violations, tunnels),
    tls ? ['h2'] : undefined,
  )
  return { ...upstream, readers, violations, tunnels }
}

function serve(
  socket: Socket,
  readers: { seen: SeenRequest[] }[],
  violations: string[],
  tunnels: Map<string, TunnelRecord>,
): void {
  socket.setNoDelay(true)
  const reader = { seen: [] as SeenRequest[] }
  readers.push(reader)
  const requests = new Map<H2Stream, SeenRequest>()
  /** To be told that the client has ended its side of a tunnel. */
  const ended = new Map<H2Stream, () => void>()
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
        const wish = wishOf(request.target)
        const { when } = wish
        if (valuesOf(fields, ':protocol').length > 0) {
          if (tunnels.has(wish.id)) complain(`a second tunnel for ${wish.id}`)
          openTunnel(peer, stream, wish, tunnels, new Promise((resolve) => ended.set(stream, resolve)))
          request.complete = true
          return
        }
        if (request.fields.has('expect') && when !== 'early')
          peer.headers(stream.id, [':status', '100'], false)
        if (when === 'early') void answer(peer, stream, request)
      },
      onEnd(stream) {
        const request = requests.get(stream)
        if (request === undefined) return
        // A tunnel has two ends, and what follows a refused one belongs to nothing.
        if (request.complete) {
          ended.get(stream)?.()
          return
        }
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
    settings([3, 100], [8, 1]),
  )
  socket.on('end', () => socket.end())
  socket.on('close', () => {
    violations.push(...peer.violations)
    for (const [stream, request] of requests) if (!request.complete) request.body = stream.body
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
  const protocol = pseudo.get(':protocol')
  const expected = [
    ':authority',
    ':method',
    ':path',
    ...(protocol === undefined ? [] : [':protocol']),
    ':scheme',
  ]
  if ([...pseudo.keys()].toSorted().join() !== expected.join())
    complain(`pseudo-fields ${[...pseudo.keys()]}`)
  if (protocol !== undefined) {
    if (protocol !== 'websocket' || pseudo.get(':method') !== 'CONNECT') complain(`:protocol ${protocol}`)
    if (fields.has('sec-websocket-key') || fields.has('content-length')) complain('fields of another upgrade')
  }
  if ((fields.get('content-length') ?? []).length > 1) complain('two lengths')
  if (pseudo.get(':authority') !== 'a') complain(`:authority ${pseudo.get(':authority')}`)
  return {
    // An upgrade is one, whatever it is called (RFC 8441 §5).
    method: protocol === undefined ? (pseudo.get(':method') ?? '') : 'GET',
    target: pseudo.get(':path') ?? '',
    fields,
    trailers: [],
    body: '',
    complete: false,
  }
}

/** RFC 8441: any 2xx opens the tunnel. */
function openTunnel(
  peer: H2Peer,
  stream: H2Stream,
  wish: Wish,
  tunnels: Map<string, TunnelRecord>,
  clientEnded: Promise<void>,
): void {
  const { id, framing, size, interim } = wish
  for (let i = 0; i < interim; i++) peer.headers(stream.id, [':status', '103', 'link', '</x>'], false)
  if (framing !== 'length') {
    peer.headers(stream.id, [':status', '403', 'x-tag', id], size === 0)
    if (size > 0) peer.data(stream.id, taggedBody(id, size), true)
    return
  }
  tunnels.set(id, {
    get received() {
      return stream.body
    },
    get ended() {
      return stream.ended
    },
  })
  peer.headers(stream.id, [':status', '200', 'x-tag', id], false)
  void serveTunnel(
    {
      write: (text) => peer.data(stream.id, text, false),
      end: () => peer.data(stream.id, '', true),
      reset: () => peer.reset(stream.id, 8),
    },
    wish,
    tunnelText(wish),
    clientEnded,
  )
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
