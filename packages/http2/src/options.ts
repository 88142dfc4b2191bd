import { DEFAULT_FRAME_BYTES, INTEGER_31_MAX } from './constants.ts'

/** What one connection takes and how much of it. Every bound has a default. */
export interface Http2Options {
  /** Streams that the peer may have open at once; more are refused with `REFUSED_STREAM`. Default 100. */
  readonly streamsMax?: number
  /** What the peer may send ahead of each stream's reader, in bytes, 1 to 2^31-1. Default 65,535. */
  readonly windowBytes?: number
  /**
   * What the peer may send ahead of all readers together, in bytes, 65,535 to 2^31-1. A connection never holds more
   * unread bytes than this. Default: `windowBytes` times `streamsMax`, so that no stalled stream stops another.
   */
  readonly connectionWindowBytes?: number
  /** Largest frame that the peer may send, in bytes, 16,384 to 2^24-1. Default 16,384. */
  readonly frameBytesMax?: number
  /** Largest field section in bytes, 32 a field included (RFC 9113 §6.5.2). Default 65,536. */
  readonly headerListBytesMax?: number
  /** Most fields in a section, pseudo-fields included. Default 272. */
  readonly fieldsMax?: number
  /** CONTINUATION frames after one HEADERS frame. Default 32. */
  readonly continuationsMax?: number
  /** What a peer's dynamic table may hold of ours and ours of its, in bytes. Default 4,096. */
  readonly tableBytesMax?: number
  /** Streams that may end at once by a reset, the peer's or one that it made us send. Default 1,000. */
  readonly resetBurstMax?: number
  /** The same in the long run, per second. Default 33. */
  readonly resetsPerSecondMax?: number
  /**
   * PING, SETTINGS, PRIORITY, unknown and empty frames, frames on closed streams, and WINDOW_UPDATE beyond what our
   * data explains, per second; ten times as many at once. Default 1,000.
   */
  readonly controlFramesPerSecondMax?: number
  /** Settings in one frame; the standards know eight. Default 32. */
  readonly settingsPerFrameMax?: number
  /**
   * Frames that are used in one go, HEADERS as eight. After so many, in one read or in several, `receive` answers false, so that other
   * connections have their turn. Default 256.
   */
  readonly framesAtOnceMax?: number
  /** Bytes of acknowledgements, resets and window updates that wait for a peer that does not read. Default 65,536. */
  readonly replyBytesMax?: number
  /** Bytes of data that a stream queues before its writer is told to stop. Default 65,536. */
  readonly streamQueueBytesMax?: number
  /** Server: take extended CONNECT (RFC 8441). Default false. */
  readonly connectProtocol?: boolean
}

/** {@link Http2Options} with every default filled in and checked. */
export type ResolvedHttp2Options = Required<Http2Options>

const DEFAULTS: ResolvedHttp2Options = Object.freeze({
  streamsMax: 100,
  windowBytes: 65_535,
  connectionWindowBytes: 0,
  frameBytesMax: DEFAULT_FRAME_BYTES,
  headerListBytesMax: 65_536,
  fieldsMax: 272,
  continuationsMax: 32,
  tableBytesMax: 4_096,
  resetBurstMax: 1_000,
  resetsPerSecondMax: 33,
  controlFramesPerSecondMax: 1_000,
  settingsPerFrameMax: 32,
  framesAtOnceMax: 256,
  replyBytesMax: 65_536,
  streamQueueBytesMax: 65_536,
  connectProtocol: false,
})

const LEAST: Readonly<Record<string, number>> = {
  connectionWindowBytes: 65_535,
  frameBytesMax: DEFAULT_FRAME_BYTES,
  continuationsMax: 0,
  tableBytesMax: 0,
}

/** What was checked already: connections of one server share it. */
const resolvedOptions: WeakSet<object> = new WeakSet()

/**
 * Fills in the defaults and checks every value; what it has answered before is answered again as it is.
 *
 * @throws {TypeError} For an unknown option or a value of the wrong type.
 * @throws {RangeError} For a number out of bounds.
 */
export function resolveHttp2Options(options: Http2Options = {}): ResolvedHttp2Options {
  if (resolvedOptions.has(options)) return options as ResolvedHttp2Options
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(DEFAULTS, name)) throw new TypeError(`Unknown HTTP/2 option "${name}"`)
    if (value === undefined) continue
    const expected = typeof DEFAULTS[name as keyof ResolvedHttp2Options]
    if (typeof value !== expected)
      throw new TypeError(`HTTP/2 option "${name}" must be a ${expected}, not ${String(value)}`)
    if (expected === 'number') checkNumber(name, value as number)
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const all = { ...DEFAULTS, ...given }
  if (all.connectionWindowBytes === 0) {
    all.connectionWindowBytes = Math.min(INTEGER_31_MAX, Math.max(65_535, all.windowBytes * all.streamsMax))
  }
  resolvedOptions.add(Object.freeze(all))
  return all
}

function checkNumber(name: string, value: number): void {
  const least = LEAST[name] ?? 1
  const most = name === 'frameBytesMax' ? 2 ** 24 - 1 : INTEGER_31_MAX
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`HTTP/2 option "${name}" must be an integer from ${least} to ${most}, not ${value}`)
  }
}
