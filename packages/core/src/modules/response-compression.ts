import { isProxyError, ProxyError, peerError } from '@cirque/error'
import { bodylessStatus, type ResponseHeader } from '@cirque/http'
import { declaredLength } from '../downstream/http-session.ts'
import {
  COMPRESSION_BYTES_MIN,
  isCompressibleType,
  isStreamType,
  mayChangeCoding,
  mediaType,
  varyByEncoding,
  weakenEtag,
} from './compression-rules.ts'
import {
  type CompressionSettings,
  type CompressionTotals,
  checkDecompress,
  checkLevel,
  compressionSettings,
  type ResponseCompressionOptions,
  type ResponseCompressionStats,
} from './compression-settings.ts'
import { ContentCodec, createDecoder, createEncoder } from './content-codec.ts'
import {
  type AcceptedCodings,
  acceptedCodings,
  CONTENT_CODINGS,
  type ContentCoding,
  chooseCoding,
} from './content-coding.ts'
import type { HttpModule, HttpModuleBuilder } from './http-module.ts'
import type { HttpModuleContext } from './http-modules.ts'

/** Late, so that the other modules see what is readable. */
export const RESPONSE_COMPRESSION_ORDER = -16_384

/** What is being done to a response. */
export interface CompressionInfo {
  readonly operation: 'compress' | 'decompress'
  readonly coding: ContentCoding
  /** Bytes of the body that went in so far. */
  readonly bytesIn: number
  /** And that came out. */
  readonly bytesOut: number
}

/**
 * Compresses responses for clients that take it, or decompresses them for clients that do not. Get it in a hook
 * to settle things for one request: `session.modules?.get(ResponseCompression)?.adjustLevel(0)`.
 */
export class ResponseCompression implements HttpModule {
  /** True once the head of a response was changed. */
  filtersResponseBody = false
  readonly #settings: CompressionSettings
  readonly #totals: CompressionTotals
  #levels: Readonly<Record<ContentCoding, number>>
  #decompress: boolean | 'always'
  #preserveEtag: boolean
  #codec: ContentCodec | null = null
  #coding: ContentCoding = 'gzip'
  #decoding = false

  /** @internal Made by {@link responseCompression}. */
  constructor(settings: CompressionSettings, totals: CompressionTotals) {
    this.#settings = settings
    this.#totals = totals
    this.#levels = settings.levels
    this.#decompress = settings.decompress
    this.#preserveEtag = settings.preserveEtag
  }

  /**
   * Sets the level of one coding, or of all, for this request; 0 switches it off. Has effect until the
   * response's head is written.
   *
   * @throws {RangeError} If a coding has no such level; for all of them 0 to 9 are allowed.
   */
  adjustLevel(level: number, coding?: ContentCoding): void {
    const levels = { ...this.#levels }
    for (const each of CONTENT_CODINGS) {
      if (coding === undefined || coding === each) levels[each] = checkLevel(each, level)
    }
    this.#levels = levels
  }

  /** Switches decompression on or off for this request; `'always'` whatever the client takes. */
  adjustDecompression(enabled: boolean | 'always'): void {
    this.#decompress = checkDecompress(enabled)
  }

  /** Whether a strong entity tag stays as it is, for this request. */
  adjustPreserveEtag(preserve: boolean): void {
    this.#preserveEtag = preserve
  }

  /** What is being done to this response, or `undefined` when it passes as it is. */
  get info(): CompressionInfo | undefined {
    const codec = this.#codec
    if (codec === null) return undefined
    return {
      operation: this.#decoding ? 'decompress' : 'compress',
      coding: this.#coding,
      bytesIn: codec.bytesIn,
      bytesOut: codec.bytesOut,
    }
  }

  responseHeaderFilter(response: ResponseHeader, contentLength: number, context: HttpModuleContext): void {
    const { gzip, br, zstd } = this.#levels
    if (gzip + br + zstd === 0 && !this.#decompress) return
    const offered = this.#settings.preference.filter((coding) => this.#levels[coding] > 0)
    const { request } = context
    const accepted = acceptedCodings(request.getCombined('accept-encoding'))
    if (response.status === 304) {
      // It speaks of the response that was sent before, which may have been compressed: RFC 9110 §15.4.5.
      varyByEncoding(response)
      const changed = this.#decompress || chooseCoding(accepted, offered) !== undefined
      if (changed && !this.#preserveEtag) weakenEtag(response)
      return
    }
    if (bodylessStatus(response.status) || !mayChangeCoding(request, response)) return
    const coded = response.getCombined('content-encoding')?.trim().toLowerCase() ?? ''
    // The head that answers HEAD is that of GET (RFC 9110 §9.3.2); only nothing follows it.
    const head = request.method === 'HEAD'
    const length = head ? declaredLength(response) : contentLength
    if (coded === '' || coded === 'identity') {
      this.#considerCompressing(response, length, accepted, offered, head)
    } else if (this.#decompress) this.#considerDecompressing(response, coded, length, accepted, head)
  }

  #considerCompressing(
    response: ResponseHeader,
    length: number,
    accepted: AcceptedCodings,
    offered: ContentCoding[],
    head: boolean,
  ): void {
    const type = mediaType(response)
    if (offered.length === 0 || !this.#settings.compressible(type)) return
    if (length >= 0 && length < COMPRESSION_BYTES_MIN) return
    varyByEncoding(response)
    const coding = chooseCoding(accepted, offered)
    if (coding === undefined) return
    // A body whose length nobody knows is being made while it is sent, and its reader may be waiting for it.
    const flush = isStreamType(type) || (length < 0 && this.#settings.flush === 'unknown-length')
    if (!head && !this.#open(coding, () => createEncoder(coding, this.#levels[coding], flush))) return
    this.#editHead(response)
    response.insertHeader('Content-Encoding', coding)
    if (!head) this.#totals.compressed++
  }

  #considerDecompressing(
    response: ResponseHeader,
    coded: string,
    length: number,
    accepted: AcceptedCodings,
    head: boolean,
  ): void {
    const coding = coded === 'x-gzip' ? 'gzip' : coded
    if (coding !== 'gzip' && coding !== 'br' && coding !== 'zstd') return
    if (this.#decompress !== 'always') {
      varyByEncoding(response)
      if (accepted[coding] > 0 || accepted.identity === 0) return
    }
    if (length === 0) return
    if (!head && !this.#open(coding, () => createDecoder(coding))) return
    this.#decoding = true
    this.#editHead(response)
    response.removeHeader('Content-Encoding')
    if (!head) this.#totals.decompressed++
  }

  /** False when there are too many codecs at work, or none can be made: the response passes as it is. */
  #open(coding: ContentCoding, create: () => ReturnType<typeof createDecoder>): boolean {
    if (this.#totals.active >= this.#settings.activeMax) {
      this.#totals.skipped++
      return false
    }
    try {
      this.#codec = new ContentCodec(create())
    } catch {
      this.#totals.failed++
      return false
    }
    this.#totals.active++
    this.#coding = coding
    this.filtersResponseBody = true
    return true
  }

  #editHead(response: ResponseHeader): void {
    response.removeHeader('Content-Length')
    // Ranges of what is made on the way cannot be asked for again.
    response.removeHeader('Accept-Ranges')
    if (!this.#preserveEtag) weakenEtag(response)
  }

  responseBodyFilter(chunk: Buffer | null): AsyncIterable<Buffer> | undefined {
    const codec = this.#codec
    if (codec === null) return undefined
    return this.#run(codec, chunk === null ? codec.end() : codec.write(chunk))
  }

  async *#run(codec: ContentCodec, output: AsyncGenerator<Buffer, void, undefined>): AsyncGenerator<Buffer> {
    try {
      for await (const piece of output) {
        if (this.#decoding) this.#checkUnfolding(codec)
        yield piece
      }
    } catch (error) {
      this.#totals.failed++
      throw this.#failure(error)
    }
  }

  /** A small response that unfolds into a huge one would be the client's to take. */
  #checkUnfolding(codec: ContentCodec): void {
    const { outputBytesMax, outputRatioMax } = this.#settings
    if (
      codec.bytesOut > outputBytesMax ||
      (codec.bytesOut > OUTPUT_RATIO_BYTES_MIN && codec.bytesOut > codec.bytesIn * outputRatioMax)
    ) {
      throw peerError(
        'RESPONSE_TOO_LARGE',
        'upstream',
        `The ${this.#coding} body unfolds into more than its limit`,
      )
    }
  }

  #failure(error: unknown): ProxyError {
    if (isProxyError(error)) return error
    return this.#decoding
      ? peerError('FILTER_FAILED', 'upstream', `Cannot decode the ${this.#coding} body of the upstream`, {
          cause: error,
        })
      : new ProxyError('FILTER_FAILED', 'internal', `Cannot compress the response with ${this.#coding}`, {
          cause: error,
        })
  }

  close(): void {
    const codec = this.#codec
    if (codec === null) return
    codec.close()
    const totals = this.#totals
    totals.active--
    totals.bytesIn += codec.bytesIn
    totals.bytesOut += codec.bytesOut
  }
}

/** Below this much output the ratio says nothing: a page of spaces is no attack. */
const OUTPUT_RATIO_BYTES_MIN = 1_048_576

/** What {@link responseCompression} makes: the compression of a service. */
export interface ResponseCompressionBuilder extends HttpModuleBuilder<ResponseCompression> {
  readonly order: number
  /** What has been done so far, for all requests. */
  stats(): ResponseCompressionStats
}

/**
 * The compression of a service's responses.
 *
 * @throws {TypeError | RangeError} If an option is unknown, of the wrong type or out of bounds.
 * @example
 * initDownstreamModules(modules) { modules.add(responseCompression({ brLevel: 5 })) }
 */
export function responseCompression(options: ResponseCompressionOptions = {}): ResponseCompressionBuilder {
  const settings = compressionSettings(options, isCompressibleType)
  const totals: CompressionTotals = {
    compressed: 0,
    decompressed: 0,
    active: 0,
    skipped: 0,
    failed: 0,
    bytesIn: 0,
    bytesOut: 0,
  }
  return Object.freeze({
    module: ResponseCompression,
    order: RESPONSE_COMPRESSION_ORDER,
    init: () => new ResponseCompression(settings, totals),
    stats: () => ({ ...totals }),
  })
}
