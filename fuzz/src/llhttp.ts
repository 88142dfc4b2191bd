import { ClientRequest, createServer, type IncomingMessage, METHODS } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** A message as a parser sees it, framing included: two parsers agree when these are equal. */
export interface Message {
  /** Method and target, or the status. */
  readonly start: string
  readonly version: string
  readonly fields: readonly string[]
  /** The body's bytes as latin1. */
  readonly body: string
  readonly trailers: readonly string[]
  /** False when the bytes ended before the message did. */
  readonly complete: boolean
}

type Mutable = { -readonly [K in keyof Message]: Message[K] }

/** llhttp knows a fixed list of methods; RFC 9110 §9.1 leaves the list open. */
export const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS)

/** llhttp reads `Proxy-Connection` as it reads `Connection`. No standard knows the field, and a proxy drops it. */
export function hasProxyConnection(fields: readonly string[]): boolean {
  return fields.some((text, index) => index % 2 === 0 && text.toLowerCase() === 'proxy-connection')
}

class Wire extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    callback()
  }
}

/** Takes the body of a message where it leaves the parser: without a stream's turns of the event loop. */
function record(message: IncomingMessage, start: string, into: Message[]): void {
  const seen: Mutable = {
    start,
    version: `HTTP/${message.httpVersion}`,
    fields: message.rawHeaders,
    body: '',
    trailers: [],
    complete: false,
  }
  into.push(seen)
  message.push = (chunk: Buffer | null): boolean => {
    if (chunk === null) {
      seen.complete = message.complete
      seen.trailers = message.rawTrailers
    } else {
      seen.body += chunk.toString('latin1')
    }
    return true
  }
}

let requests: Message[] = []
let refusal: string | undefined

const server = createServer({ insecureHTTPParser: false })
for (const event of ['request', 'checkContinue', 'checkExpectation', 'connect', 'upgrade']) {
  server.on(event, (request: IncomingMessage) =>
    record(request, `${request.method} ${request.url}`, requests),
  )
}
server.on('clientError', (error: NodeJS.ErrnoException) => {
  refusal ??= error.code ?? error.message
})

/** What node:http, strict, makes of a connection's bytes: its requests, and the code of the error that ended them. */
export function readRequests(bytes: Buffer): { messages: Message[]; refusal: string | undefined } {
  requests = []
  refusal = undefined
  const wire = new Wire()
  server.emit('connection', wire as unknown as Socket)
  wire.emit('data', bytes)
  wire.destroy()
  return { messages: requests, refusal }
}

/**
 * What node:http, strict, makes of the first final response in `bytes`.
 *
 * @param method - Of the request that is answered.
 * @param ended - The connection ends after `bytes`.
 */
export async function readResponse(
  bytes: Buffer,
  method: string,
  ended: boolean,
): Promise<{ messages: Message[]; refusal: string | undefined }> {
  const messages: Message[] = []
  let failure: string | undefined
  const wire = new Wire()
  const request = new ClientRequest({
    method,
    createConnection: () => wire as unknown as Socket,
    headers: { host: 'a' },
  })
  const take = (response: IncomingMessage): void => record(response, String(response.statusCode), messages)
  request.on('response', take)
  request.on('upgrade', take)
  request.on('connect', take)
  request.on('error', (error: NodeJS.ErrnoException) => {
    failure ??= error.code ?? error.message
  })
  const connected = new Promise<void>((resolve) => request.once('socket', () => resolve()))
  request.end()
  await connected
  wire.emit('data', bytes)
  if (ended) wire.emit('end')
  const result = { messages: [...messages], refusal: failure }
  wire.destroy()
  return result
}
