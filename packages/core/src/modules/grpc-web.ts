import { peerError } from '@cirque/error'
import type { RequestHeader, ResponseHeader } from '@cirque/http'
import { mediaType } from './compression-rules.ts'
import { GrpcTextEncoder, PiecewiseBase64Decoder } from './grpc-web-text.ts'
import type { HttpModule, HttpModuleBuilder } from './http-module.ts'

const WEB_TYPE = /^application\/grpc-web(-text)?(?=$|\+)/
const WEB_BINARY_TYPE = 'application/grpc-web'
const WEB_TEXT_TYPE = 'application/grpc-web-text'
const GRPC_TYPE = /^application\/grpc(?=$|\+)/
/** The forms that a client accepts, in a list of media types. */
const WEB_TYPES_ACCEPTED = /(?:^|,)\s*application\/grpc-web(-text)?(?=\s*(?:$|[,;+]))/gi

/** The flag of a frame that holds trailers, in the gRPC-Web protocol. */
const TRAILERS_FRAME = 0x80
const FRAME_HEAD_BYTES = 5

/**
 * Lets clients of gRPC-Web, such as browsers, call gRPC services: translates the media type, and sends the
 * trailers, which browsers do not see, as the last frame of the body.
 *
 * Both forms are known: `application/grpc-web`, and `application/grpc-web-text`, whose bodies are base64. The
 * answer has the form that `Accept` names, else that of the call. A call whose text is no base64 fails as one that
 * gets 400 does. Errors of the service that has this module are gRPC errors to these clients, too.
 * Everything else passes as it is.
 */
export class GrpcWeb implements HttpModule {
  /** True once a request's text has to be decoded. */
  filtersRequestBody = false
  /** True once a response is translated. */
  filtersResponseBody = false
  #enabled = true
  #translating = false
  #answersInText = false
  #decoder: PiecewiseBase64Decoder | null = null
  #encoder: GrpcTextEncoder | null = null

  /** The media type that errors of this call have; undefined when it is not translated. */
  get errorType(): string | undefined {
    if (!this.#translating) return undefined
    return this.#answersInText ? WEB_TEXT_TYPE : WEB_BINARY_TYPE
  }

  /** Leaves this request alone. Has effect before modules see it, as in `earlyRequestFilter`. */
  disable(): void {
    this.#enabled = false
  }

  requestHeaderFilter(request: RequestHeader): void {
    const found = this.#enabled ? WEB_TYPE.exec(mediaType(request)) : null
    if (found === null) return
    this.#translating = true
    const isText = found[1] !== undefined
    this.#answersInText = acceptsText(request) ?? isText
    const type = request.get('content-type') ?? ''
    request.insertHeader(
      'Content-Type',
      type.replace(/^application\/grpc-web(?:-text)?/i, 'application/grpc'),
    )
    // gRPC wants it of every client.
    request.insertHeader('TE', 'trailers')
    if (!isText) return
    request.removeHeader('Content-Length')
    this.#decoder = new PiecewiseBase64Decoder()
    this.filtersRequestBody = true
  }

  requestBodyFilter(chunk: Buffer | null): Buffer | null {
    const decoder = this.#decoder as PiecewiseBase64Decoder
    const bytes = chunk === null ? null : decoder.decode(chunk)
    if (chunk === null ? !decoder.complete : bytes === null) {
      throw peerError('HTTP_STATUS', 'downstream', 'Client sent gRPC-Web text that is no base64', {
        status: 400,
      })
    }
    return bytes
  }

  responseHeaderFilter(response: ResponseHeader): void {
    if (!this.#translating || !GRPC_TYPE.test(mediaType(response))) return
    const type = response.get('content-type') ?? ''
    const webType = this.#answersInText ? WEB_TEXT_TYPE : WEB_BINARY_TYPE
    response.insertHeader('Content-Type', type.replace(/^application\/grpc/i, webType))
    response.removeHeader('Content-Length')
    // It announces trailers, and none come.
    response.removeHeader('Trailer')
    if (this.#answersInText) this.#encoder = new GrpcTextEncoder()
    this.filtersResponseBody = true
  }

  responseBodyFilter(chunk: Buffer | null): Buffer | undefined {
    const encoder = this.#encoder
    if (encoder === null) return undefined
    return chunk === null ? encoder.flush() : encoder.encode(chunk)
  }

  responseTrailerFilter(trailers: string[]): Buffer | undefined {
    if (trailers.length === 0) return undefined
    let lines = ''
    for (let i = 0; i < trailers.length; i += 2) {
      lines += `${(trailers[i] as string).toLowerCase()}:${trailers[i + 1]}\r\n`
    }
    const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + lines.length)
    frame.writeUInt8(TRAILERS_FRAME, 0)
    frame.writeUInt32BE(lines.length, 1)
    frame.write(lines, FRAME_HEAD_BYTES, 'latin1')
    return this.#encoder === null ? frame : Buffer.from(frame.toString('base64'), 'latin1')
  }
}

/** Whether the client wants text; undefined when it names no form of gRPC-Web. */
function acceptsText(request: RequestHeader): boolean | undefined {
  let binary: false | undefined
  for (const [, text] of request.getAll('accept').join(',').matchAll(WEB_TYPES_ACCEPTED)) {
    if (text !== undefined) return true
    binary = false
  }
  return binary
}

/** The bridge from gRPC-Web to gRPC, to be added to a service's modules. */
export function grpcWeb(): HttpModuleBuilder<GrpcWeb> {
  return Object.freeze({ module: GrpcWeb, init: () => new GrpcWeb() })
}
