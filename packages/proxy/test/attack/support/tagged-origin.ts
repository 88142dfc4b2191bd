import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { cutConnection } from '@cirque/core'
import { startRawUpstream, type Upstream } from '../../support/upstream.ts'
import { RequestReader, type SeenRequest } from './readers.ts'
import { serveTunnel, type TunnelRecord } from './tunnels.ts'

/** The body that the origin gives for a request: each few bytes of it say whose it is. */
export function taggedBody(id: string, size: number): string {
  return `${id}.`.repeat(Math.ceil(size / (id.length + 1))).slice(0, size)
}

/** What the origin sends into the tunnel that a request has opened. */
export function tunnelText({ id, size }: Wish): string {
  return `${id} welcomes${taggedBody(id, size)}`
}

/** What a target asks of the origin. */
export interface Wish {
  readonly id: string
  readonly framing: string
  readonly size: number
  readonly when: string
  readonly interim: number
  /** A tunnel is reset halfway. */
  readonly resets: boolean
}

/** The wish in a target, see `requests.ts`. */
export function wishOf(target: string): Wish {
  const [, id = '', query = ''] = /^\/([^?]*)\?(.*)$/.exec(target) ?? []
  const wishes = new URLSearchParams(query)
  const framing = wishes.get('f') ?? 'length'
  return {
    id,
    framing,
    size: framing === 'empty' || framing === 'none' ? 0 : Number(wishes.get('n')),
    when: wishes.get('w') ?? 'end',
    interim: Number(wishes.get('i')),
    resets: wishes.get('r') === '1',
  }
}

/** An origin that notes what each connection brings, and answers as the target wishes, tagged with its id. */
export interface TaggedOrigin extends Upstream {
  /** What each connection brought. */
  readonly readers: readonly { readonly seen: readonly SeenRequest[] }[]
  /** The tunnels that it has opened, by their ids. */
  readonly tunnels: ReadonlyMap<string, TunnelRecord>
  /** What a proxy should never have sent. */
  readonly violations: string[]
}

export async function startTaggedOrigin(tls = false): Promise<TaggedOrigin> {
  const readers: RequestReader[] = []
  const violations: string[] = []
  const tunnels = new Map<string, TunnelRecord>()
  const upstream = await startRawUpstream(
    (socket) => serve(socket, readers, violations, tunnels),
    tls ? ['http/1.1'] : undefined,
  )
  return { ...upstream, readers, violations, tunnels }
}

function serve(
  socket: Socket,
  readers: RequestReader[],
  violations: string[],
  tunnels: Map<string, TunnelRecord>,
): void {
  const reader = new RequestReader(
    (request) => {
      if (request.fields.has('expect') && wishOf(request.target).when !== 'early') {
        socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      }
      if (wishOf(request.target).when === 'early') void answer(socket, request, reader, tunnels)
    },
    (request) => {
      const { when } = wishOf(request.target)
      if (when === 'later') {
        const delay = request.target.length % 4
        void sleep(delay).then(() => answer(socket, request, reader, tunnels))
      } else if (when !== 'early') void answer(socket, request, reader, tunnels)
    },
  )
  readers.push(reader)
  socket.on('data', (data) => {
    try {
      reader.feed(data.toString('latin1'))
    } catch (error) {
      violations.push(String(error))
      socket.destroy()
    }
  })
  socket.on('end', () => {
    // A tunnel has two ends.
    if (reader.tunnel === null) socket.end()
  })
}

class SocketTunnel implements TunnelRecord {
  readonly #socket: Socket
  readonly #reader: RequestReader

  constructor(socket: Socket, reader: RequestReader) {
    this.#socket = socket
    this.#reader = reader
  }

  get received(): string {
    return this.#reader.tunnel ?? ''
  }

  get ended(): boolean {
    return this.#socket.readableEnded
  }
}

/** RFC 6455 §1.3. */
export function acceptOfKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

async function answer(
  socket: Socket,
  request: SeenRequest,
  reader: RequestReader,
  tunnels: Map<string, TunnelRecord>,
): Promise<void> {
  const wish = wishOf(request.target)
  const { id, framing, size, interim } = wish
  for (let i = 0; i < interim; i++) socket.write(`HTTP/1.1 103 ${id}\r\nLink: </x>\r\n\r\n`)
  const protocol = request.fields.get('upgrade')?.[0]
  if (protocol !== undefined && framing === 'length') {
    reader.switchProtocols()
    const key = request.fields.get('sec-websocket-key')?.[0]
    const accept = key === undefined ? '' : `Sec-WebSocket-Accept: ${acceptOfKey(key)}\r\n`
    socket.write(
      `HTTP/1.1 101 ${id}\r\nX-Tag: ${id}\r\n${accept}Connection: upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
    )
    tunnels.set(id, new SocketTunnel(socket, reader))
    await serveTunnel(
      {
        write: (text) => void socket.write(text),
        end: () => void socket.end(),
        reset: () => cutConnection(socket),
      },
      wish,
      tunnelText(wish),
      new Promise((resolve) => socket.on('end', resolve)),
    )
    return
  }
  const body = request.method === 'HEAD' ? '' : taggedBody(id, size)
  const head = `HTTP/1.1 ${framing === 'none' ? 204 : 200} ${id}\r\nX-Tag: ${id}\r\n`
  if (framing === 'none') socket.write(`${head}\r\n`)
  else if (framing === 'chunked') {
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`)
    if (request.method === 'HEAD') return
    const half = Math.ceil(body.length / 2)
    for (const part of [body.slice(0, half), body.slice(half)]) {
      if (part !== '') socket.write(`${part.length.toString(16)}\r\n${part}\r\n`)
      await sleep(0)
    }
    socket.write('0\r\n\r\n')
  } else if (framing === 'close') socket.end(`${head}Connection: close\r\n\r\n${body}`)
  else socket.write(`${head}Content-Length: ${size}\r\n\r\n${body}`)
}
