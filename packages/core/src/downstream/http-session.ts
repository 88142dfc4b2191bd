import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { ProxyError, peerError } from '@cirque/error'
import {
  canonicalReason,
  checkTrailers,
  type FieldsInit,
  type RequestHeader,
  ResponseHeader,
} from '@cirque/http'
import { GrpcWeb } from '../modules/grpc-web.ts'
import type { HttpModuleContext } from '../modules/http-modules.ts'
import type { ServerSession, ServerSessionHandler } from '../sessions/server-session.ts'
import { WRITE_PAUSE, type WriteResult } from '../sessions/write-result.ts'
import type { ConnectionDigest } from '../sockets/digest.ts'
import { grpcErrorHeader, isGrpcRequest } from './grpc-status.ts'
import { RequestBody } from './request-body.ts'

/** The parts of a response that {@link HttpSession.respond} writes. */
export interface ResponseInit {
  readonly headers?: FieldsInit
  /** Text is sent as UTF-8. None by default. */
  readonly body?: string | Buffer
}

/** Options of {@link HttpSession.readRequestBody}. */
export interface ReadBodyOptions {
  /** More than this many bytes fail with `BODY_TOO_LARGE` (413). Default 1 MiB. */
  readonly maxBytes?: number
}

/** What a whole body may take when nobody says otherwise, in bytes. */
export const BODY_BYTES_MAX_DEFAULT: number = 1_048_576

/** How much of a file or stream is read at a time, in bytes. */
const FILE_CHUNK_BYTES = 65_536

/**
 * One request and its response, for application code: promises where {@link ServerSession} has callbacks.
 *
 * Everything a handler needs to answer by itself. A session ends when the response is complete; a client
 * that leaves earlier makes pending calls reject with a `ProxyError` of source `downstream`.
 */
export class HttpSession implements ServerSessionHandler {
  /** The layer below, for what has no method here. */
  readonly downstream: ServerSession
  #body: RequestBody | null = null
  #abortError: ProxyError | null = null
  #abortController: AbortController | null = null
  #drained: (() => void) | null = null
  #serverName: string

  constructor(downstream: ServerSession, serverName: string = 'Cirque') {
    this.downstream = downstream
    this.#serverName = serverName
    downstream.handler = this
  }

  /** The request's head, as the client sent it. */
  get request(): RequestHeader {
    return this.downstream.request
  }

  /** This request's modules; undefined when the service has none. */
  get modules(): HttpModuleContext | undefined {
    return this.downstream.modules
  }

  /** Facts of the client's connection; asks the socket. */
  digest(): ConnectionDigest {
    return this.downstream.digest()
  }

  /** The IP address of the connection's other end; undefined for a Unix socket. */
  get remoteAddress(): string | undefined {
    return this.downstream.digest().remoteAddress
  }

  /** Why the client's side ended early, or undefined. */
  get abortError(): ProxyError | undefined {
    return this.#abortError ?? undefined
  }

  /** Aborted when the client's side ends early. Made when first asked for. */
  get signal(): AbortSignal {
    this.#abortController ??= new AbortController()
    if (this.#abortError !== null) this.#abortController.abort(this.#abortError)
    return this.#abortController.signal
  }

  /** True once a final response's head was written. */
  get responseWritten(): boolean {
    return this.downstream.responseStatus !== 0
  }

  /** Makes this response the connection's last one. */
  disableKeepAlive(): void {
    this.downstream.disableKeepAlive()
  }

  // --- the request's body ----------------------------------------------------------------------

  /** What has been read of the request's body ahead of its use. */
  get body(): RequestBody {
    this.#body ??= new RequestBody(this.downstream, this.#abortError)
    return this.#body
  }

  /** What has been read ahead, or null when nobody asked for it. */
  protected get bodyReadAhead(): RequestBody | null {
    return this.#body
  }

  /**
   * The whole body in one Buffer.
   *
   * @throws {ProxyError} `BODY_TOO_LARGE` over the limit; any downstream failure.
   * @throws {RangeError} If `maxBytes` is no integer from 0.
   */
  async readRequestBody(options: ReadBodyOptions = {}): Promise<Buffer> {
    const maxBytes = options.maxBytes ?? BODY_BYTES_MAX_DEFAULT
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
      throw new RangeError(`maxBytes must be an integer from 0, not ${String(maxBytes)}`)
    }
    await this.body.fill(maxBytes, true)
    return this.body.take()
  }

  /** The body as it arrives. Chunks are yours; the client is held back while you are busy with one. */
  async *requestChunks(): AsyncGenerator<Buffer, void, undefined> {
    const body = this.body
    for (;;) {
      await body.fill(1, false)
      const chunk = body.take()
      if (chunk.length > 0) yield chunk
      else if (body.ended) return
    }
  }

  // --- the response ----------------------------------------------------------------------------

  /**
   * Writes a whole response.
   *
   * @throws {RangeError} If `status` is no final status (200 to 599).
   * @throws {TypeError} If a field is malformed, or the body is neither text nor a Buffer.
   */
  respond(status: number, response: ResponseInit = {}): void {
    const body = typeof response.body === 'string' ? Buffer.from(response.body) : response.body
    if (body !== undefined) checkBuffer(body)
    const header = ResponseHeader.build(finalStatus(status), response.headers)
    const size = body?.length ?? 0
    this.downstream.writeHead(header, size)
    if (body !== undefined && size > 0) this.downstream.writeBody(body, 0, size)
    this.downstream.endResponse(null)
  }

  /**
   * Writes a generated error: not to be cached, with an empty body unless one is given. A gRPC call over HTTP/2, and a
   * gRPC-Web call that the module translates, gets it as gRPC has it: `grpc-status` in a response of status 200,
   * without a body.
   */
  respondError(status: number, body: string | Buffer = ''): void {
    const webType = this.modules?.get(GrpcWeb)?.errorType
    if (webType !== undefined || isGrpcRequest(this.downstream.request)) {
      this.downstream.writeHead(grpcErrorHeader(finalStatus(status), webType), 0)
      this.downstream.endResponse(null)
      return
    }
    const header = ResponseHeader.build(finalStatus(status), undefined, canonicalReason(status))
    if (this.#serverName !== '') header.appendHeader('Server', this.#serverName)
    if (body !== '' && typeof body === 'string')
      header.appendHeader('Content-Type', 'text/plain; charset=utf-8')
    header.appendHeader('Cache-Control', 'private, no-store')
    const bytes = Buffer.from(body)
    this.downstream.writeHead(header, bytes.length)
    if (bytes.length > 0) this.downstream.writeBody(bytes, 0, bytes.length)
    this.downstream.endResponse(null)
  }

  /**
   * Answers with a file.
   *
   * @throws {ProxyError} `FILE_OPEN_ERROR` when it cannot be read or is no regular file; nothing was written then.
   */
  async respondFile(path: string, status: number = 200, headers?: FieldsInit): Promise<void> {
    const { file, size } = await openFile(path)
    try {
      await this.writeResponseHeader(ResponseHeader.build(finalStatus(status), headers), size)
      if (this.request.method !== 'HEAD') {
        for (let at = 0; at < size; ) {
          const { buffer, bytesRead } = await file.read(
            Buffer.allocUnsafe(Math.min(FILE_CHUNK_BYTES, size - at)),
            0,
            undefined,
            at,
          )
          if (bytesRead === 0) break // cut short meanwhile: the short body closes the connection
          at += bytesRead
          await this.writeResponseBody(buffer.subarray(0, bytesRead))
        }
      }
      this.endResponse()
    } finally {
      await file.close()
    }
  }

  /** Answers with what a stream yields; destroys the stream when the client leaves. */
  async respondStream(
    stream: Readable,
    status: number = 200,
    headers?: FieldsInit,
    contentLength: number = -1,
  ): Promise<void> {
    if (typeof stream?.[Symbol.asyncIterator] !== 'function') {
      throw new TypeError(`Expected a stream to answer with, not ${stream === null ? 'null' : typeof stream}`)
    }
    try {
      await this.writeResponseHeader(ResponseHeader.build(finalStatus(status), headers), contentLength)
      for await (const chunk of stream)
        await this.writeResponseBody(Buffer.from(chunk as Uint8Array | string))
    } catch (error) {
      stream.destroy()
      if (!this.responseWritten) throw error
      this.downstream.destroy(
        new ProxyError('READ_ERROR', 'internal', 'The stream to answer with failed', { cause: error }),
      )
      throw error
    }
    this.endResponse()
  }

  /**
   * Writes the head of a response whose body follows.
   *
   * @param contentLength - Default: what the header's Content-Length says, else -1 (chunked, or until the connection closes).
   * @throws {TypeError} If `header` is no `ResponseHeader`.
   * @throws {RangeError} If its status is no final one, but for the 101 that an upgrade asks for, or if the length is
   * no integer from -1.
   */
  writeResponseHeader(header: ResponseHeader, contentLength?: number): void | Promise<void> {
    this.#checkAlive()
    // Not `instanceof`, which another installed copy of the package would not pass.
    if (typeof header?.forEachField !== 'function') {
      throw new TypeError(`Expected a ResponseHeader, not ${header === null ? 'null' : typeof header}`)
    }
    if (header.status !== 101 || !this.downstream.isUpgrade) finalStatus(header.status)
    const length = contentLength ?? declaredLength(header)
    if (!Number.isSafeInteger(length) || length < -1) {
      throw new RangeError(`A content length must be an integer from -1, not ${String(length)}`)
    }
    this.downstream.writeHead(header, length)
  }

  /**
   * Writes a part of the body; resolves when the client is ready for more.
   *
   * @throws {TypeError} If `chunk` is no Buffer.
   * @throws {Error} Before the head was written.
   */
  writeResponseBody(chunk: Buffer): void | Promise<void> {
    this.#checkAlive()
    checkBuffer(chunk)
    if (!this.responseWritten) throw new Error('The response head must be written before the body')
    const result = this.downstream.writeBody(chunk, 0, chunk.length)
    this.downstream.flush()
    if (result >= WRITE_PAUSE && !this.downstream.closed) return this.#drain()
  }

  /**
   * Completes the response.
   *
   * @param trailers - Flat, `[name, value, …]`. None by default.
   * @throws {TypeError} If one of them is malformed or forbidden; the response is still to be completed then.
   */
  endResponse(trailers: string[] | null = null): void {
    if (trailers !== null) checkTrailers(trailers)
    this.downstream.endResponse(trailers)
  }

  #drain(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#drained = () => {
        this.#drained = null
        if (this.#abortError === null) resolve()
        else reject(this.#abortError)
      }
    })
  }

  #checkAlive(): void {
    if (this.#abortError !== null) throw this.#abortError
    if (this.downstream.closed) throw peerError('CONNECTION_CLOSED', 'downstream', 'The response has ended')
  }

  // --- called by the layer below -----------------------------------------------------------------

  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    return this.body.onRequestData(buffer, start, end)
  }

  onRequestEnd(trailers: string[] | null): void {
    this.body.onRequestEnd(trailers)
  }

  onDownstreamDrain(): void {
    this.#drained?.()
  }

  onDownstreamAbort(error: ProxyError): void {
    if (this.#abortError !== null) return
    this.#abortError = error
    this.#body?.fail(error)
    this.#drained?.()
    this.#abortController?.abort(error)
  }
}

function finalStatus(status: number): number {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`A response's status must be an integer from 200 to 599, not ${status}`)
  }
  return status
}

function checkBuffer(bytes: unknown): void {
  if (!Buffer.isBuffer(bytes)) {
    throw new TypeError(`A body must be a Buffer, not ${bytes === null ? 'null' : typeof bytes}`)
  }
}

/** Opens a regular file; one of another kind might block, or have no end. */
async function openFile(path: string): Promise<{ file: FileHandle; size: number }> {
  let file: FileHandle | undefined
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    const stat = await file.stat()
    if (!stat.isFile()) throw new TypeError('It is no regular file')
    return { file, size: stat.size }
  } catch (cause) {
    await file?.close()
    throw new ProxyError('FILE_OPEN_ERROR', 'internal', 'Cannot open the file to answer with', { cause })
  }
}

/** What a header says of its body's length; -1 when it says nothing. */
export function declaredLength(header: ResponseHeader): number {
  const value = header.get('content-length')
  if (value === undefined) return -1
  return /^\d{1,15}$/.test(value) ? Number(value) : -1
}
