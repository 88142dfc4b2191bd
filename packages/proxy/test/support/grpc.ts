import type { MethodDefinition } from '@grpc/grpc-js'

/** A method whose messages are any bytes. */
export type RawMethod = MethodDefinition<Buffer, Buffer>

const bytes = (value: Buffer): Buffer => value

function rawMethod(path: string, requestStream: boolean, responseStream: boolean): RawMethod {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  }
}

/** A service of one method for each kind of call: unary, a stream up, a stream down, both. */
export function rawService(name: string): Record<'unary' | 'upload' | 'download' | 'both', RawMethod> {
  return {
    unary: rawMethod(`/${name}/unary`, false, false),
    upload: rawMethod(`/${name}/upload`, true, false),
    download: rawMethod(`/${name}/download`, false, true),
    both: rawMethod(`/${name}/both`, true, true),
  }
}
