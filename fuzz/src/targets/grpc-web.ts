import { GrpcWeb } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import { isFieldValue, isToken, RequestHeader, ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { holds, orRefused, same } from '../check.ts'
import type { Target } from '../target.ts'

/** Media types of request and response and the trailers, apart by line feeds. */
export const target: Target = {
  name: 'grpc-web',
  seeds: [
    'application/grpc-web+proto\napplication/grpc+proto\ngrpc-status\n0\ngrpc-message\nok',
    'Application/gRPC-Web\nApplication/GRPC;x\nA\nb',
  ],
  inputs: fc
    .tuple(
      fc.constantFrom(
        'application/grpc-web',
        'application/grpc-web+proto',
        'APPLICATION/GRPC-WEB+json; a=b',
        'application/grpc',
        'application/grpc-web-text',
      ),
      fc.constantFrom('application/grpc', 'application/grpc+proto', 'application/grpc-web', 'text/plain'),
      fc.array(fc.constantFrom('grpc-status', '0', 'Grpc-Message', 'é', 'x-bin', 'AAA=')),
    )
    .map(([request, response, trailers]) =>
      Buffer.from([request, response, ...trailers].join('\n'), 'latin1'),
    ),
  run(input) {
    const [requestType = '', responseType = '', ...words] = input.toString('latin1').split('\n')
    if (!isFieldValue(requestType) || !isFieldValue(responseType)) return
    const trailers: string[] = []
    for (let index = 0; index + 1 < words.length; index += 2) {
      const [name = '', value = ''] = words.slice(index, index + 2)
      if (isToken(name) && isFieldValue(value)) trailers.push(name, value.trim())
    }
    const request = RequestHeader.build('POST', '/', [
      ['Content-Type', requestType],
      ['Host', 'a'],
    ])
    const response = ResponseHeader.build(200, [
      ['Content-Type', responseType],
      ['Content-Length', '5'],
    ])
    const bridge = new GrpcWeb()
    bridge.requestHeaderFilter(request)
    bridge.responseHeaderFilter(response)
    const isWeb = /^application\/grpc-web(?:-text)?(?:\s*;|\s*$|\+)/i.test(requestType.trim())
    same('TE is added exactly for gRPC-Web', request.get('te'), isWeb ? 'trailers' : undefined)
    if (bridge.filtersRequestBody) checkText(requestType, words.join(''))
    if (!bridge.filtersResponseBody) {
      same(
        'any other response stays',
        [response.get('content-type'), response.get('content-length')],
        [responseType.replace(/^[ \t]+|[ \t]+$/g, ''), '5'],
      )
      return
    }
    holds('the response is gRPC-Web', /^application\/grpc-web/i.test(response.get('content-type') ?? ''))
    same('no length is left', response.has('content-length'), false)
    const isText = /^application\/grpc-web-text/i.test(response.get('content-type') ?? '')
    const frame = bridge.responseTrailerFilter(trailers)
    checkFrame(
      isText && frame !== undefined ? Buffer.from(frame.toString('latin1'), 'base64') : frame,
      trailers,
    )
  },
}

/** A body of base64, in pieces that each may end with padding: the same in one part and in two, or refused in both. */
function checkText(requestType: string, text: string): void {
  const cut = text.length >> 1
  const [whole, parts] = [[text], [text.slice(0, cut), text.slice(cut)]].map((chunks) => {
    const bridge = new GrpcWeb()
    bridge.requestHeaderFilter(RequestHeader.build('POST', '/', [['Content-Type', requestType]]))
    return orRefused(() => {
      const decoded = chunks.map(
        (chunk) => bridge.requestBodyFilter(Buffer.from(chunk, 'latin1')) ?? Buffer.alloc(0),
      )
      return Buffer.concat([...decoded, bridge.requestBodyFilter(null) ?? Buffer.alloc(0)]).toString('hex')
    }, ProxyError)
  })
  same('base64 in two parts', parts, whole)
  if (/^(?:[A-Za-z0-9+/]{4})*$/.test(text))
    same('base64 as Node.js reads it', whole, Buffer.from(text, 'base64').toString('hex'))
}

/** A frame of trailers as the gRPC-Web protocol has it, read again. */
function checkFrame(frame: Buffer | undefined, trailers: readonly string[]): void {
  if (trailers.length === 0) {
    same('no frame without trailers', frame, undefined)
    return
  }
  holds('the frame is flagged', frame?.[0] === 0x80)
  same('the length is that of the block', frame?.readUInt32BE(1), (frame?.length ?? 0) - 5)
  const lines = frame?.toString('latin1', 5).split('\r\n') ?? []
  same('each line ends', lines.pop(), '')
  const read = lines.flatMap((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)])
  same(
    'the trailers read the same',
    read,
    trailers.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text)),
  )
}
