import { isFieldValue, ResponseHeader } from '@cirque/http'

/** What a response's HEADERS say, checked. */
export interface Http2ResponseHead {
  readonly header: ResponseHeader
  /** As declared, or -1. */
  readonly contentLength: number
}

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const LENGTH = /^\d{1,15}$/
const STATUS = /^[1-5]\d\d$/
const COLON = 0x3a

/**
 * Makes a response header out of a decoded field block, fit to be written as HTTP/1.1; null for a malformed one
 * (RFC 9113 §8.1.1), which must not be passed on.
 *
 * @param raw - Name and value in turn, as `node:http2` gives them: the pseudo-field with its colon.
 * @param fieldsMax - Most fields.
 */
export function readResponseHead(raw: readonly string[], fieldsMax: number): Http2ResponseHead | null {
  let status = ''
  let contentLength = -1
  const fields: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    if (name.charCodeAt(0) === COLON) {
      if (name !== ':status' || status !== '') return null
      status = `${value}` // a number where Node has touched it
      continue
    }
    if (!FIELD_NAME.test(name) || !isFieldValue(value)) return null
    switch (name) {
      case 'content-length':
        if (contentLength >= 0 || !LENGTH.test(value)) return null
        contentLength = Number(value)
        break
      case 'connection':
      case 'keep-alive':
      case 'proxy-connection':
      case 'transfer-encoding':
      case 'upgrade':
        return null
    }
    fields.push(name, value)
  }
  if (!STATUS.test(status) || fields.length > fieldsMax * 2) return null
  return { header: new ResponseHeader(Number(status), '', 'HTTP/2', fields), contentLength }
}
