/** A request as an origin reads it off a connection. */
export interface SeenRequest {
  readonly method: string
  readonly target: string
  /** Values by lowercase name. */
  readonly fields: ReadonlyMap<string, readonly string[]>
  /** Names of its trailer fields. */
  readonly trailers: string[]
  body: string
  complete: boolean
}

const REQUEST_LINE = /^([A-Z]+) (\S+) HTTP\/1\.1$/
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/

/**
 * Reads requests by the letter of RFC 9112 and throws at whatever a proxy should never send. Written apart from
 * the parser under attack.
 */
export class RequestReader {
  readonly seen: SeenRequest[] = []
  /** What came after a switch of protocols; null before. */
  tunnel: string | null = null
  readonly #onHead: (request: SeenRequest) => void
  readonly #onEnd: (request: SeenRequest) => void
  #text = ''
  #current: SeenRequest | null = null
  #remaining = 0
  /** In a chunked body: what comes next. */
  #chunk: 'none' | 'size' | 'data' | 'after' | 'trailers' = 'none'

  constructor(onHead: (request: SeenRequest) => void, onEnd: (request: SeenRequest) => void) {
    this.#onHead = onHead
    this.#onEnd = onEnd
  }

  /** Nothing that follows is a request. */
  switchProtocols(): void {
    this.tunnel = ''
  }

  feed(text: string): void {
    this.#text += text
    while (this.#step()) {
      // Until it wants more.
    }
  }

  #step(): boolean {
    if (this.tunnel !== null) {
      this.tunnel += this.#text
      this.#text = ''
      return false
    }
    if (this.#current === null) return this.#head()
    if (this.#chunk !== 'none') return this.#chunked(this.#current)
    const body = this.#text.slice(0, this.#remaining)
    this.#text = this.#text.slice(body.length)
    this.#remaining -= body.length
    this.#current.body += body
    if (this.#remaining > 0) return false
    return this.#end()
  }

  #head(): boolean {
    const at = this.#text.indexOf('\r\n\r\n')
    if (at < 0) return false
    const [start = '', ...lines] = this.#text.slice(0, at).split('\r\n')
    this.#text = this.#text.slice(at + 4)
    const [, method, target] = REQUEST_LINE.exec(start) ?? broken('request line', start)
    const fields = new Map<string, string[]>()
    for (const line of lines) {
      const [, name = '', value = ''] = FIELD_LINE.exec(line) ?? broken('field line', line)
      const values = fields.get(name.toLowerCase())
      if (values === undefined) fields.set(name.toLowerCase(), [value])
      else values.push(value)
    }
    const request = { method, target, fields, trailers: [], body: '', complete: false } as SeenRequest
    this.seen.push(request)
    this.#current = request
    this.#frame(request)
    this.#onHead(request)
    return this.#chunk !== 'none' || this.#remaining > 0 ? true : this.#end()
  }

  #frame({ fields }: SeenRequest): void {
    const lengths = fields.get('content-length') ?? []
    const codings = fields.get('transfer-encoding') ?? []
    if ((fields.get('host') ?? []).length !== 1) broken('number of Host fields', String(fields.get('host')))
    if (lengths.length + codings.length > 1) broken('framing', [...lengths, ...codings].join())
    this.#remaining = 0
    this.#chunk = 'none'
    if (codings.length === 1) {
      if (codings[0] !== 'chunked') broken('transfer coding', String(codings[0]))
      this.#chunk = 'size'
    } else if (lengths.length === 1) {
      if (!/^(?:0|[1-9]\d*)$/.test(String(lengths[0]))) broken('length', String(lengths[0]))
      this.#remaining = Number(lengths[0])
    }
  }

  #chunked(request: SeenRequest): boolean {
    if (this.#chunk === 'data') {
      const data = this.#text.slice(0, this.#remaining)
      this.#text = this.#text.slice(data.length)
      this.#remaining -= data.length
      request.body += data
      if (this.#remaining > 0) return false
      this.#chunk = 'after'
    }
    const at = this.#text.indexOf('\r\n')
    if (at < 0) return false
    const line = this.#text.slice(0, at)
    this.#text = this.#text.slice(at + 2)
    if (this.#chunk === 'after') {
      if (line !== '') broken('end of a chunk', line)
      this.#chunk = 'size'
    } else if (this.#chunk === 'size') {
      if (!/^[0-9A-F]+$/.test(line)) broken('chunk size', line)
      this.#remaining = Number.parseInt(line, 16)
      this.#chunk = this.#remaining === 0 ? 'trailers' : 'data'
    } else if (line === '') return this.#end()
    else {
      const [, name = ''] = FIELD_LINE.exec(line) ?? broken('trailer', line)
      request.trailers.push(name.toLowerCase())
    }
    return true
  }

  #end(): boolean {
    const request = this.#current as SeenRequest
    this.#current = null
    this.#chunk = 'none'
    request.complete = true
    this.#onEnd(request)
    return true
  }
}

/** A response as a client reads it. */
export interface SeenResponse {
  readonly status: number
  readonly reason: string
  readonly fields: Readonly<Record<string, string>>
  readonly body: string
  readonly complete: boolean
}

/**
 * The final responses in `received`, read for requests of these methods, and what is left over: part of a head,
 * or bytes that belong to no response.
 */
export function readResponses(
  received: string,
  methods: readonly string[],
  ended: boolean,
): { readonly responses: SeenResponse[]; readonly rest: string } {
  const responses: SeenResponse[] = []
  let rest = received
  while (rest !== '') {
    const at = rest.indexOf('\r\n\r\n')
    if (at < 0) break
    const [start = '', ...lines] = rest.slice(0, at).split('\r\n')
    const [, digits, reason = ''] = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(start) ?? broken('status line', start)
    const status = Number(digits)
    const fields: Record<string, string> = {}
    for (const line of lines) {
      const [, name = '', value = ''] = FIELD_LINE.exec(line) ?? broken('field line', line)
      const lower = name.toLowerCase()
      fields[lower] = fields[lower] === undefined ? value : `${fields[lower]}, ${value}`
    }
    const after = rest.slice(at + 4)
    if (status < 200 && status !== 101) {
      rest = after
      continue
    }
    if (responses.length === methods.length) break
    const bodyless = methods[responses.length] === 'HEAD' || status === 204 || status === 304
    const framed =
      bodyless || status === 101 ? { body: '', complete: true, rest: after } : bodyOf(fields, after, ended)
    responses.push({ status, reason, fields, body: framed.body, complete: framed.complete })
    rest = framed.rest
    if (!framed.complete || status === 101) break
  }
  return { responses, rest }
}

function bodyOf(
  fields: Readonly<Record<string, string>>,
  given: string,
  ended: boolean,
): { body: string; complete: boolean; rest: string } {
  const length = fields['content-length']
  const coding = fields['transfer-encoding']
  if (length !== undefined && coding !== undefined) broken('framing of a response', `${length} and ${coding}`)
  if (length !== undefined) {
    if (!/^\d+$/.test(length)) broken('length of a response', length)
    const body = given.slice(0, Number(length))
    return { body, complete: body.length === Number(length), rest: given.slice(body.length) }
  }
  if (coding === undefined) return { body: given, complete: ended, rest: '' }
  if (coding !== 'chunked') broken('coding of a response', coding)
  let body = ''
  let rest = given
  for (;;) {
    const at = rest.indexOf('\r\n')
    if (at < 0) return { body, complete: false, rest: '' }
    const line = rest.slice(0, at)
    if (!/^[0-9A-F]+$/.test(line)) broken('chunk size of a response', line)
    const size = Number.parseInt(line, 16)
    rest = rest.slice(at + 2)
    if (size === 0) break
    body += rest.slice(0, size)
    if (rest.length < size + 2) return { body, complete: false, rest: '' }
    if (rest.slice(size, size + 2) !== '\r\n')
      broken('end of a chunk of a response', rest.slice(size, size + 2))
    rest = rest.slice(size + 2)
  }
  const end = /^(?:[^\r\n]+\r\n)*\r\n/.exec(rest)
  if (end === null) return { body, complete: false, rest: '' }
  return { body, complete: true, rest: rest.slice(end[0].length) }
}

function broken(what: string, text: string): never {
  throw new Error(`Broken ${what}: ${JSON.stringify(text.slice(0, 200))}`)
}
