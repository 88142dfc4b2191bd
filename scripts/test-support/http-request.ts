import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request as send } from 'node:http'

/** A whole response. */
export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** What to ask. */
export interface RequestInit {
  /** Default GET, or POST when there is a body. */
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/**
 * Sends one request on a connection of its own and reads the whole response. The target goes out byte for
 * byte as given, which `fetch` would not do.
 *
 * @param address - `host:port`, or `unix:/path`.
 */
export async function request(address: string, target: string, init: RequestInit = {}): Promise<Reply> {
  const { body, headers = {}, method = body === undefined ? 'GET' : 'POST' } = init
  const colon = address.lastIndexOf(':')
  const where = address.startsWith('unix:')
    ? { socketPath: address.slice('unix:'.length) }
    : { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
  const outgoing = send({ ...where, path: target, method, headers, agent: false })
  outgoing.end(body)
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode ?? 0, headers: response.headers, body: text }
}
