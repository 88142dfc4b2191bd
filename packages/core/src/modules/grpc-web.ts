import type { RequestHeader, ResponseHeader } from '@cirque/http'
import { mediaType } from './compression-rules.ts'
import type { HttpModule, HttpModuleBuilder } from './http-module.ts'

const WEB_TYPE = /^application\/grpc-web(?=$|\+)/
const GRPC_TYPE = /^application\/grpc(?=$|\+)/

/** The flag of a frame that holds trailers, in the gRPC-Web protocol. */
const TRAILERS_FRAME = 0x80
const FRAME_HEAD_BYTES = 5

/**
 * Lets clients of gRPC-Web, such as browsers, call gRPC services: translates the media type, and sends the
 * trailers, which browsers do not see, as the last frame of the body.
 *
 * For the binary form; `application/grpc-web-text` passes as it is, as does everything else.
 */
export class GrpcWeb implements HttpModule {
  /** True once a response is translated. */
  filtersResponseBody = false
  #enabled = true
  #translating = false

  /** Leaves this request alone. Has effect before modules see it, as in `earlyRequestFilter`. */
  disable(): void {
    this.#enabled = false
  }

  requestHeaderFilter(request: RequestHeader): void {
    if (!this.#enabled || !WEB_TYPE.test(mediaType(request))) return
    this.#translating = true
    const type = request.get('content-type') ?? ''
    request.insertHeader('Content-Type', type.replace(/^application\/grpc-web/i, 'application/grpc'))
    // gRPC wants it of every client.
    request.insertHeader('TE', 'trailers')
  }

  responseHeaderFilter(response: ResponseHeader): void {
    if (!this.#translating || !GRPC_TYPE.test(mediaType(response))) return
    const type = response.get('content-type') ?? ''
    response.insertHeader('Content-Type', type.replace(/^application\/grpc/i, 'application/grpc-web'))
    response.removeHeader('Content-Length')
    // It announces trailers, and none come.
    response.removeHeader('Trailer')
    this.filtersResponseBody = true
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
    return frame
  }
}

/** The bridge from gRPC-Web to gRPC, to be added to a service's modules. */
export function grpcWeb(): HttpModuleBuilder<GrpcWeb> {
  return Object.freeze({ module: GrpcWeb, init: () => new GrpcWeb() })
}
