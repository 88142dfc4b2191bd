// The service that the proxy balances, and its client. JSON stands in for Protocol Buffers, so that nothing has to
// be generated.
import * as grpc from '@grpc/grpc-js'

/** What is asked. */
export interface Greeting {
  readonly name: string
}

/** What is answered. */
export interface Greeted {
  readonly text: string
}

function methodOf(name: string, responseStream: boolean): grpc.MethodDefinition<Greeting, Greeted> {
  const serialize = (value: Greeting | Greeted) => Buffer.from(JSON.stringify(value))
  return {
    path: `/demo.Greeter/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: serialize,
    requestDeserialize: (bytes) => JSON.parse(bytes.toString()) as Greeting,
    responseSerialize: serialize,
    responseDeserialize: (bytes) => JSON.parse(bytes.toString()) as Greeted,
  }
}

const GREETER = { greet: methodOf('Greet', false), count: methodOf('Count', true) }

/** What a client of the greeter can call. */
export interface GreeterClient extends grpc.Client {
  greet(request: Greeting, callback: grpc.requestCallback<Greeted>): grpc.ClientUnaryCall
  count(request: Greeting): grpc.ClientReadableStream<Greeted>
}

/** A client for a greeter, or for a proxy before some. */
export function greeterClient(address: string): GreeterClient {
  const Client = grpc.makeGenericClientConstructor(GREETER, 'Greeter')
  return new Client(address, grpc.credentials.createInsecure()) as unknown as GreeterClient
}

/** Starts a greeter; gives the port it got. */
export async function startGreeter(
  address: string,
  name: string,
): Promise<{ server: grpc.Server; port: number }> {
  const server = new grpc.Server()
  server.addService(GREETER, {
    greet(call: grpc.ServerUnaryCall<Greeting, Greeted>, callback: grpc.sendUnaryData<Greeted>) {
      if (call.request.name === '')
        callback({ code: grpc.status.INVALID_ARGUMENT, details: 'nobody to greet' })
      else callback(null, { text: `${name} greets ${call.request.name}` })
    },
    count(call: grpc.ServerWritableStream<Greeting, Greeted>) {
      for (let i = 1; i <= 3; i++) call.write({ text: `${name} greets ${call.request.name}, ${i}` })
      call.end()
    },
  })
  const credentials = grpc.ServerCredentials.createInsecure()
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return { server, port }
}
