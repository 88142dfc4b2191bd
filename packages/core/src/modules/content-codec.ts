import type { Transform } from 'node:stream'
import { zlib } from '../lazy-modules.ts'
import type { ContentCoding } from './content-coding.ts'

/** Windows of 512 KiB for br and 1 MiB for zstd: what they save beyond that does not pay for the memory. */
const BROTLI_WINDOW_BITS = 19
const ZSTD_WINDOW_BITS = 20
/** What a decoder of zstd on the web must be able to hold, 8 MiB (RFC 9659); more is refused. */
const ZSTD_WINDOW_BITS_MAX = 23

/** A stream that compresses; `flush` sends every piece out as soon as it is written. */
export function createEncoder(coding: ContentCoding, level: number, flush: boolean): Transform {
  const { constants, createBrotliCompress, createGzip, createZstdCompress } = zlib()
  switch (coding) {
    case 'gzip':
      return createGzip({ level, flush: flush ? constants.Z_SYNC_FLUSH : constants.Z_NO_FLUSH })
    case 'br':
      return createBrotliCompress({
        flush: flush ? constants.BROTLI_OPERATION_FLUSH : constants.BROTLI_OPERATION_PROCESS,
        params: {
          [constants.BROTLI_PARAM_QUALITY]: level,
          [constants.BROTLI_PARAM_LGWIN]: BROTLI_WINDOW_BITS,
        },
      })
    case 'zstd':
      return createZstdCompress({
        flush: flush ? constants.ZSTD_e_flush : constants.ZSTD_e_continue,
        params: {
          [constants.ZSTD_c_compressionLevel]: level,
          [constants.ZSTD_c_windowLog]: ZSTD_WINDOW_BITS,
        },
      })
  }
}

/** A stream that decompresses; what it has is given at once, so that a slow stream is not held back. */
export function createDecoder(coding: ContentCoding): Transform {
  const { constants, createBrotliDecompress, createGunzip, createZstdDecompress } = zlib()
  switch (coding) {
    case 'gzip':
      return createGunzip({ flush: constants.Z_SYNC_FLUSH })
    case 'br':
      return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH })
    case 'zstd':
      return createZstdDecompress({
        flush: constants.ZSTD_e_flush,
        params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_BITS_MAX },
      })
  }
}

/**
 * A compressor or decompressor, driven piece by piece: nothing is worked on before the last output was taken,
 * so it holds one piece, its window, and 64 KiB of output.
 */
export class ContentCodec {
  bytesIn = 0
  bytesOut = 0
  readonly #stream: Transform
  #error: unknown
  #ended = false
  #closed = false
  #wake: (() => void) | null = null

  constructor(stream: Transform) {
    this.#stream = stream
    const wake = () => this.#awaken()
    stream.on('readable', wake)
    stream.on('end', () => {
      this.#ended = true
      wake()
    })
    stream.on('close', () => {
      this.#closed = true
      wake()
    })
    stream.on('error', (error) => {
      this.#error = error
      wake()
    })
  }

  /** What comes out for a piece. Take all of it before the next call. */
  async *write(chunk: Buffer): AsyncGenerator<Buffer, void, undefined> {
    let taken = false
    this.bytesIn += chunk.length
    this.#stream.write(chunk, () => {
      taken = true
      this.#awaken()
    })
    yield* this.#output(() => taken)
  }

  /** What comes out at the end. */
  async *end(): AsyncGenerator<Buffer, void, undefined> {
    this.#stream.end()
    yield* this.#output(() => false)
  }

  /** Releases the memory; outputs that are waited for end. May be called more than once. */
  close(): void {
    this.#closed = true
    this.#stream.destroy()
    this.#awaken()
  }

  async *#output(taken: () => boolean): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error
      if (this.#ended || this.#closed) return
      const done = taken()
      const output = this.#stream.read() as Buffer | null
      if (output !== null) {
        this.bytesOut += output.length
        yield output
      } else if (done) return
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  #awaken(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
