/**
 * True for a method that is idempotent by definition (RFC 9110 §9.2.2), so that sending the request twice
 * has the effect of sending it once. Case counts, as for every method: `get` is another method.
 *
 * @param method - As on the wire.
 */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case 'GET':
    case 'HEAD':
    case 'PUT':
    case 'DELETE':
    case 'OPTIONS':
    case 'TRACE':
      return true
    default:
      return false
  }
}

/** Methods of RFC 9110, PATCH (RFC 5789) and QUERY: few enough to be labels of metrics, where clients invent others at will. */
export const COMMON_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'QUERY',
])
