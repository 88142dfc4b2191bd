import { canonicalReason, type RequestHeader, ResponseHeader } from '@cirque/http'

/** `application/grpc`, alone or with a codec such as `+proto`; not gRPC-Web, which has a form of its own. */
const GRPC_TYPE = /^application\/grpc(?:$|[+;\s])/i

/** What gRPC calls the trouble behind a status: `doc/statuscodes.md` and `doc/http-grpc-status-mapping.md` of gRPC. */
const BY_HTTP_STATUS: ReadonlyMap<number, number> = new Map([
  [400, 13], // INTERNAL
  [401, 16], // UNAUTHENTICATED
  [403, 7], // PERMISSION_DENIED
  [404, 12], // UNIMPLEMENTED
  [405, 12],
  [408, 4], // DEADLINE_EXCEEDED
  [413, 8], // RESOURCE_EXHAUSTED
  [429, 14], // UNAVAILABLE: may be tried again
  [431, 8],
  [500, 13],
  [501, 12],
  [502, 14],
  [503, 14],
  [504, 14],
])
const UNKNOWN = 2

/** True for a gRPC call, whose client reads `grpc-status` where others read the HTTP status. */
export function isGrpcRequest(request: RequestHeader): boolean {
  if (request.version !== 'HTTP/2') return false
  const type = request.get('content-type')
  return type !== undefined && GRPC_TYPE.test(type)
}

/** The `grpc-status` that stands for an HTTP status of an answer of our own. */
function grpcStatusFor(status: number): number {
  return BY_HTTP_STATUS.get(status) ?? UNKNOWN
}

/**
 * An error as gRPC clients expect it: one block of fields with status 200 and the trouble in `grpc-status`
 * ("Trailers-Only" in the protocol).
 *
 * @param type - The media type; gRPC-Web has its own.
 */
export function grpcErrorHeader(status: number, type: string = 'application/grpc'): ResponseHeader {
  return ResponseHeader.build(200, {
    'Content-Type': type,
    'Grpc-Status': grpcStatusFor(status),
    'Grpc-Message': encodeURIComponent(canonicalReason(status) || `HTTP status ${status}`).replaceAll(
      '%20',
      ' ',
    ),
  })
}
