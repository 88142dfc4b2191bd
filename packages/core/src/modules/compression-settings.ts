import { nameHint } from '../nearest-name.ts'
import { requireOptions } from '../option-checks.ts'
import { CONTENT_CODINGS, type ContentCoding } from './content-coding.ts'

/** Options of `responseCompression`. */
export interface ResponseCompressionOptions {
  /** Level of gzip, 1 (fastest) to 9 (smallest); 0 switches it off. Default 6. */
  readonly gzipLevel?: number
  /** Level of br, 1 to 11; 0 switches it off. Default 4: those above cost several times the time. */
  readonly brLevel?: number
  /** Level of zstd, 1 to 19; 0 switches it off. Default 3. */
  readonly zstdLevel?: number
  /** Which coding to take when a client likes several equally. Default `['zstd', 'br', 'gzip']`. */
  readonly preference?: readonly ContentCoding[]
  /**
   * Which media types to compress; gets the type in lower case, without parameters, `''` for none. Default:
   * text, fonts, icons and most of `application/`, except what is compressed by itself.
   */
  readonly compressible?: (type: string) => boolean
  /**
   * When to send out what the compressor holds back. Server-sent events and other streams of messages: always
   * after each piece. Other bodies of unknown length: `'unknown-length'`, the default, does the same;
   * `'streams'` does not, which makes them a little smaller and a lot later.
   */
  readonly flush?: 'unknown-length' | 'streams'
  /** Keep strong entity tags although the bytes are others. Default false: they become weak. */
  readonly preserveEtag?: boolean
  /**
   * Decompress gzip, br and zstd for clients that do not take them; `'always'` for all, so that body filters behind it
   * see plain content. Default false.
   */
  readonly decompress?: boolean | 'always'
  /** A body that unfolds into more is cut, in bytes. Default 1 GiB. */
  readonly outputBytesMax?: number
  /** So is one that unfolds into more than so many times its size and more than 1 MiB. Default 200. */
  readonly outputRatioMax?: number
  /** Bodies that are worked on at a time; further ones pass as they are. Bounds the memory. Default 1,024. */
  readonly activeMax?: number
}

/** What a service's compression has done so far. */
export interface ResponseCompressionStats {
  /** Responses that were compressed. */
  readonly compressed: number
  readonly decompressed: number
  /** Bodies that are being worked on. */
  readonly active: number
  /** Responses that passed as they are because of `activeMax`. */
  readonly skipped: number
  /** Bodies that were cut because a codec failed or a limit was passed. */
  readonly failed: number
  /** Bytes that went into codecs, of the responses that have ended. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** {@link ResponseCompressionStats}, while they are counted. */
export type CompressionTotals = {
  -readonly [K in keyof ResponseCompressionStats]: ResponseCompressionStats[K]
}

/** The options, checked. */
export interface CompressionSettings {
  readonly levels: Readonly<Record<ContentCoding, number>>
  readonly preference: readonly ContentCoding[]
  readonly compressible: (type: string) => boolean
  readonly flush: 'unknown-length' | 'streams'
  readonly preserveEtag: boolean
  readonly decompress: boolean | 'always'
  readonly outputBytesMax: number
  readonly outputRatioMax: number
  readonly activeMax: number
}

const OPTION_NAMES: ReadonlySet<string> = new Set([
  'gzipLevel',
  'brLevel',
  'zstdLevel',
  'preference',
  'compressible',
  'flush',
  'preserveEtag',
  'decompress',
  'outputBytesMax',
  'outputRatioMax',
  'activeMax',
])

/** zstd has levels up to 22, but those above 19 need windows that clients refuse (RFC 9659). */
const LEVEL_MAX: Readonly<Record<ContentCoding, number>> = Object.freeze({ gzip: 9, br: 11, zstd: 19 })

/** Fills in the defaults and checks every value. */
export function compressionSettings(
  options: ResponseCompressionOptions,
  compressible: (type: string) => boolean,
): CompressionSettings {
  requireOptions(options, 'responseCompression')
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.has(name)) {
      throw new TypeError(`Unknown compression option "${name}"${nameHint(name, OPTION_NAMES)}`)
    }
  }
  const { preference = ['zstd', 'br', 'gzip'], flush = 'unknown-length' } = options
  if (
    !Array.isArray(preference) ||
    new Set(preference).size !== preference.length ||
    preference.some((coding) => !CONTENT_CODINGS.includes(coding))
  ) {
    throw new TypeError(
      `Compression option "preference" must be a list of gzip, br and zstd, each once, not ${String(preference)}`,
    )
  }
  if (flush !== 'unknown-length' && flush !== 'streams') {
    throw new TypeError(
      `Compression option "flush" must be "unknown-length" or "streams", not ${String(flush)}`,
    )
  }
  if (options.compressible !== undefined && typeof options.compressible !== 'function') {
    throw new TypeError(
      `Compression option "compressible" must be a function, not ${typeof options.compressible}`,
    )
  }
  return Object.freeze({
    levels: Object.freeze({
      gzip: checkLevel('gzip', options.gzipLevel ?? 6),
      br: checkLevel('br', options.brLevel ?? 4),
      zstd: checkLevel('zstd', options.zstdLevel ?? 3),
    }),
    preference: Object.freeze([...preference]),
    compressible: options.compressible ?? compressible,
    flush,
    preserveEtag: flag('preserveEtag', options.preserveEtag),
    decompress: checkDecompress(options.decompress),
    outputBytesMax: integer(
      'outputBytesMax',
      options.outputBytesMax ?? 1_073_741_824,
      Number.MAX_SAFE_INTEGER,
    ),
    outputRatioMax: integer('outputRatioMax', options.outputRatioMax ?? 200, 1_000_000),
    activeMax: integer('activeMax', options.activeMax ?? 1_024, 1_000_000),
  })
}

/** @throws {RangeError} If the coding has no such level. */
export function checkLevel(coding: ContentCoding, level: number): number {
  if (!Number.isInteger(level) || level < 0 || level > LEVEL_MAX[coding]) {
    throw new RangeError(
      `The level of ${coding} must be an integer from 0 to ${LEVEL_MAX[coding]}, not ${level}`,
    )
  }
  return level
}

/** @throws {TypeError} If it is neither a boolean nor `'always'`. */
export function checkDecompress(value: boolean | 'always' | undefined): boolean | 'always' {
  if (value === 'always') return value
  if (value !== undefined && typeof value !== 'boolean') {
    throw new TypeError(`Compression option "decompress" must be a boolean or "always", not ${String(value)}`)
  }
  return value === true
}

function flag(name: string, value: boolean | undefined): boolean {
  if (value !== undefined && typeof value !== 'boolean') {
    throw new TypeError(`Compression option "${name}" must be a boolean, not ${typeof value}`)
  }
  return value === true
}

function integer(name: string, value: number, most: number): number {
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new RangeError(`Compression option "${name}" must be an integer from 1 to ${most}, not ${value}`)
  }
  return value
}
