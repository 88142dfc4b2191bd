import { type ProxyError, peerError } from '@cirque/error'
import { ResponseHeader } from '@cirque/http'
import type { ServerSession } from '../sessions/server-session.ts'
import { WRITE_DONE, WRITE_RETAINED, type WriteResult } from '../sessions/write-result.ts'

const NOTHING = Buffer.alloc(0)

/** Pieces below this size are copied together. */
const SMALL_BYTES = 1_024

/** Into memory of this size. */
const GATHER_BYTES = 16_384

/**
 * What has been read of a request's body ahead of its use, in memory, never more than was asked for plus
 * one read. The client is held back meanwhile.
 */
export class RequestBody {
  /** The chunks so far, in order. */
  chunks: Buffer[] = []
  /** Bytes in `chunks`. */
  bytes = 0
  /** True once the client has sent the whole body. */
  ended = false
  /** The trailer fields, flat, once ended; null for none. */
  trailers: string[] | null = null
  /** Bytes that were taken out: they are not here to be sent on. */
  takenBytes = 0

  /** The last chunk, when it was gathered from small pieces. */
  #gathered: Buffer | null = null
  #gatheredFrom: Buffer = NOTHING
  /** What is left of the memory that `#gathered` lies in. */
  #room: Buffer = NOTHING
  readonly #session: ServerSession
  #wanted = 0
  #error: ProxyError | null
  #waiting: { resolve: () => void; reject: (error: ProxyError) => void } | null = null

  constructor(session: ServerSession, error: ProxyError | null) {
    this.#session = session
    this.#error = error
  }

  /**
   * Reads until `bytes` are here or the body has ended.
   *
   * @param whole - The body must end within `bytes`.
   * @throws {ProxyError} `BODY_TOO_LARGE` when `whole` and it does not; any downstream failure.
   */
  async fill(bytes: number, whole: boolean): Promise<void> {
    const declared = this.#session.requestContentLength
    if (whole && declared > bytes) throw tooLarge(bytes)
    await this.#read(whole ? bytes + 1 : bytes)
    if (whole && this.bytes > bytes) throw tooLarge(bytes)
  }

  #read(bytes: number): Promise<void> | undefined {
    if (this.#error !== null) return Promise.reject(this.#error)
    if (this.ended || this.bytes >= bytes) return undefined
    if (this.#waiting !== null) return Promise.reject(new TypeError('The request body is being read already'))
    return new Promise((resolve, reject) => {
      this.#wanted = bytes
      this.#waiting = { resolve, reject }
      const session = this.#session
      // The client waits to be told that its body is wanted (RFC 9110 §10.1.1); a second 100 is never written.
      if (session.expectsContinue && session.hasRequestBody && session.requestBodyBytes === 0) {
        session.writeInformational(ResponseHeader.build(100))
      }
      session.resumeRequestBody()
    })
  }

  /** Everything read so far, taken out. */
  take(): Buffer {
    const whole = this.peek()
    this.chunks = []
    this.bytes = 0
    this.takenBytes += whole.length
    return whole
  }

  /** Everything read so far, left in place. */
  peek(): Buffer {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)]
    return this.chunks[0] ?? NOTHING
  }

  onRequestData(buffer: Buffer, start: number, end: number): WriteResult {
    const isCopied = end - start < SMALL_BYTES
    if (isCopied) this.#collect(buffer, start, end)
    else this.chunks.push(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
    this.bytes += end - start
    if (this.bytes >= this.#wanted) {
      this.#session.pauseRequestBody()
      this.#settle(null)
    }
    return isCopied ? WRITE_DONE : WRITE_RETAINED
  }

  /** Small pieces are gathered: a Buffer for each byte would cost a hundred times what it holds. */
  #collect(buffer: Buffer, start: number, end: number): void {
    const last = this.chunks.length - 1
    const gathered = this.#gathered
    if (gathered === null || this.chunks[last] !== gathered || this.#room.length < end - start) {
      this.#room = Buffer.allocUnsafeSlow(GATHER_BYTES)
      this.#gatheredFrom = this.#room
      this.#gathered = this.#room.subarray(0, end - start)
      this.chunks.push(this.#gathered)
    } else {
      this.#gathered = this.#gatheredFrom.subarray(0, gathered.length + end - start)
      this.chunks[last] = this.#gathered
    }
    buffer.copy(this.#room, 0, start, end)
    this.#room = this.#room.subarray(end - start)
  }

  onRequestEnd(trailers: string[] | null): void {
    this.ended = true
    this.trailers = trailers
    this.#settle(null)
  }

  fail(error: ProxyError): void {
    this.#error = error
    this.#settle(error)
  }

  #settle(error: ProxyError | null): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (error === null) waiting?.resolve()
    else waiting?.reject(error)
  }
}

function tooLarge(bytes: number): ProxyError {
  return peerError('BODY_TOO_LARGE', 'downstream', `Request body exceeds ${bytes} bytes`)
}
