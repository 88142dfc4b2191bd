/** Frame types (RFC 9113 §6). */
export const FRAME_DATA = 0x0
export const FRAME_HEADERS = 0x1
export const FRAME_PRIORITY = 0x2
export const FRAME_RST_STREAM = 0x3
export const FRAME_SETTINGS = 0x4
export const FRAME_PUSH_PROMISE = 0x5
export const FRAME_PING = 0x6
export const FRAME_GOAWAY = 0x7
export const FRAME_WINDOW_UPDATE = 0x8
export const FRAME_CONTINUATION = 0x9

export const FLAG_END_STREAM = 0x1
export const FLAG_ACK = 0x1
export const FLAG_END_HEADERS = 0x4
export const FLAG_PADDED = 0x8
export const FLAG_PRIORITY = 0x20

/** Settings (RFC 9113 §6.5.2, RFC 8441 §3). */
export const SETTING_HEADER_TABLE_SIZE = 0x1
export const SETTING_ENABLE_PUSH = 0x2
export const SETTING_MAX_CONCURRENT_STREAMS = 0x3
export const SETTING_INITIAL_WINDOW_SIZE = 0x4
export const SETTING_MAX_FRAME_SIZE = 0x5
export const SETTING_MAX_HEADER_LIST_SIZE = 0x6
export const SETTING_ENABLE_CONNECT_PROTOCOL = 0x8

/** Bytes of a frame's head (RFC 9113 §4.1). */
export const FRAME_HEAD_BYTES = 9
/** What both sides take before settings say otherwise (RFC 9113 §6.5.2). */
export const DEFAULT_FRAME_BYTES = 16_384
export const DEFAULT_WINDOW_BYTES = 65_535
/** The largest window, stream id and increment (RFC 9113 §6.9.1, §5.1.1). */
export const INTEGER_31_MAX = 0x7fff_ffff

/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** Error codes of RST_STREAM and GOAWAY (RFC 9113 §7). */
export const ErrorCode: {
  readonly NO_ERROR: 0x0
  readonly PROTOCOL_ERROR: 0x1
  readonly INTERNAL_ERROR: 0x2
  readonly FLOW_CONTROL_ERROR: 0x3
  readonly SETTINGS_TIMEOUT: 0x4
  readonly STREAM_CLOSED: 0x5
  readonly FRAME_SIZE_ERROR: 0x6
  readonly REFUSED_STREAM: 0x7
  readonly CANCEL: 0x8
  readonly COMPRESSION_ERROR: 0x9
  readonly CONNECT_ERROR: 0xa
  readonly ENHANCE_YOUR_CALM: 0xb
  readonly INADEQUATE_SECURITY: 0xc
  readonly HTTP_1_1_REQUIRED: 0xd
} = Object.freeze({
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
})

const names: readonly string[] = Object.keys(ErrorCode)

/** `CANCEL` for 8; the number itself for a code that the standard does not know. */
export function errorName(code: number): string {
  return names[code] ?? `code ${code}`
}
