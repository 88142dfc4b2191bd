import type { EventEmitter } from 'node:events'
import type { Writable } from 'node:stream'
import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import type { HttpProxyServiceOptions, ProxyHttp } from '../src/index.ts'
import { CERTIFICATE } from './support/certificate.ts'
import { rawService } from './support/grpc.ts'
import { startProxy } from './support/proxy.ts'
import { type Gate, gate, until } from './support/waiting.ts'

const CALLS = rawService('test.Calls')
const Calls = grpc.makeGenericClientConstructor(CALLS, 'Calls')

interface CallsClient extends grpc.Client {
  unary(
    request: Buffer,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: grpc.requestCallback<Buffer>,
  ): grpc.ClientUnaryCall
  upload(callback: grpc.requestCallback<Buffer>): grpc.ClientWritableStream<Buffer>
  download(request: Buffer, options?: grpc.CallOptions): grpc.ClientReadableStream<Buffer>
  both(): grpc.ClientDuplexStream<Buffer, Buffer>
}

/** What a service does with its calls, each in one method. */
interface Service {
  unary?: grpc.handleUnaryCall<Buffer, Buffer>
  upload?: grpc.handleClientStreamingCall<Buffer, Buffer>
  download?: grpc.handleServerStreamingCall<Buffer, Buffer>
  both?: grpc.handleBidiStreamingCall<Buffer, Buffer>
}

async function startServer(service: Service, credentials = grpc.ServerCredentials.createInsecure()) {
  const server = new grpc.Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(CALLS, { ...service } as grpc.UntypedServiceImplementation)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return { server, address: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => server.forceShutdown() }
}

interface SceneOptions {
  readonly app?: Partial<ProxyHttp>
  readonly peer?: HttpPeerOptions
  readonly proxy?: HttpProxyServiceOptions
  readonly client?: grpc.ClientOptions
}

async function start(service: Service, { app, peer, proxy: more, client: options }: SceneOptions = {}) {
  const stack = new AsyncDisposableStack()
  const { server, address } = stack.use(await startServer(service))
  const proxy = stack.use(
    await startProxy(
      { upstreamPeer: () => new HttpPeer(address, { httpVersion: 2, ...peer }), ...app },
      { ...more, server: { h2c: true, ...more?.server } },
    ),
  )
  const client = new Calls(`127.0.0.1:${proxy.port}`, grpc.credentials.createInsecure(), {
    'grpc.enable_retries': 0,
    ...options,
  }) as unknown as CallsClient
  stack.defer(() => client.close())
  return { client, proxy, server, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

function statusOf(call: grpc.ClientUnaryCall): Promise<grpc.StatusObject> {
  call.on('error', () => undefined)
  return new Promise((resolve) => call.on('status', resolve))
}

test('metadata of the request arrives: several values, binary ones, 8 KiB of them', async () => {
  let seen: grpc.Metadata | undefined
  await using calls = await start({
    unary(call, callback) {
      seen = call.metadata
      callback(null, call.request)
    },
  })
  const metadata = new grpc.Metadata()
  metadata.add('x-many', 'one')
  metadata.add('x-many', 'two')
  const binary = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  metadata.add('x-raw-bin', binary)
  metadata.add('x-raw-bin', Buffer.alloc(0))
  metadata.set('x-long', 'v'.repeat(8_192))
  const call = calls.client.unary(Buffer.from('x'), metadata, {}, () => undefined)
  expect((await statusOf(call)).code).toBe(grpc.status.OK)
  expect(seen?.get('x-many').join(', ')).toBe('one, two')
  expect(seen?.get('x-raw-bin')).toEqual([binary, Buffer.alloc(0)])
  expect(seen?.get('x-long')).toEqual(['v'.repeat(8_192)])
})

test('messages that are compressed pass as they are', async () => {
  const encodings: unknown[] = []
  await using calls = await start(
    {
      unary(call, callback) {
        callback(null, Buffer.from(`${call.request.length}`))
      },
    },
    {
      client: { 'grpc.default_compression_algorithm': 2 },
      app: { requestFilter: ({ request }) => void encodings.push(request.get('grpc-encoding')) },
    },
  )
  const answer = await new Promise((resolve) =>
    calls.client.unary(Buffer.alloc(100_000), new grpc.Metadata(), {}, (_error, value) =>
      resolve(String(value)),
    ),
  )
  expect([answer, encodings]).toEqual(['100000', ['gzip']])
})

describe('a client that cancels', () => {
  type Streaming = 'upload' | 'download' | 'both'
  /** A service whose streams say when they run and when they are cancelled. */
  function stalling(): { service: Service; running: Gate; cancelled: Gate } {
    const running = gate()
    const cancelled = gate()
    const watch = (call: EventEmitter) => {
      call.on('error', () => undefined)
      call.on('cancelled', () => cancelled.open())
    }
    const stall = (call: Writable) => {
      watch(call)
      call.write(Buffer.from('first'))
    }
    const upload = (call: grpc.ServerReadableStream<Buffer, Buffer>) => {
      watch(call)
      running.open()
    }
    return { service: { upload, download: stall, both: stall }, running, cancelled }
  }

  test.each<Streaming>(['upload', 'download', 'both'])('%s: the service hears it', async (kind) => {
    const { service, running, cancelled } = stalling()
    await using calls = await start(service)
    const { client } = calls
    const call =
      kind === 'upload'
        ? client.upload(() => undefined)
        : kind === 'download'
          ? client.download(Buffer.from('x'))
          : client.both()
    call.on('error', () => undefined)
    call.on('data', () => running.open())
    if (kind !== 'download') (call as grpc.ClientWritableStream<Buffer>).write(Buffer.from('x'))
    await running.promise
    call.cancel()
    await cancelled.promise
    await calls.proxy.idle()
  })

  test('a deadline counts for streams as well', async () => {
    const { service, cancelled } = stalling()
    await using calls = await start(service)
    const call = calls.client.download(Buffer.from('x'), { deadline: Date.now() + 150 })
    call.resume()
    expect((await statusOf(call)).code).toBe(grpc.status.DEADLINE_EXCEEDED)
    await cancelled.promise
  })
})

describe('keep-alive pings', () => {
  test('of clients are answered, also of one without a call', async () => {
    await using calls = await start(
      { unary: (call, callback) => setTimeout(() => callback(null, call.request), 300) },
      {
        client: {
          'grpc.keepalive_time_ms': 30,
          'grpc.keepalive_timeout_ms': 5_000,
          'grpc.keepalive_permit_without_calls': 1,
        },
      },
    )
    for (let i = 0; i < 2; i++) {
      const call = calls.client.unary(Buffer.from('x'), new grpc.Metadata(), {}, () => undefined)
      expect((await statusOf(call)).code).toBe(grpc.status.OK)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    // One connection, which no flood has ended.
    expect(calls.proxy.proxy.serverApp.stats()).toMatchObject({ connections: 1, refusedHeads: {} })
  })

  test('to services are sent while a call runs, and their answers keep it', async () => {
    await using calls = await start(
      { unary: (call, callback) => setTimeout(() => callback(null, call.request), 250) },
      { peer: { http2PingIntervalMs: 30 } },
    )
    const call = calls.client.unary(Buffer.from('x'), new grpc.Metadata(), {}, () => undefined)
    expect((await statusOf(call)).code).toBe(grpc.status.OK)
    expect(calls.proxy.errors()).toEqual([])
  })
})

test('a service that dies in the middle of a stream is an error after its messages', async () => {
  await using calls = await start({
    download(call) {
      for (let i = 0; i < 3; i++) call.write(Buffer.from(`${i}`))
    },
  })
  const call = calls.client.download(Buffer.from('x'))
  const received: string[] = []
  call.on('data', (message: Buffer) => received.push(String(message)))
  await until(() => received.length === 3, 'the messages do not come')
  calls.server.forceShutdown()
  const { code } = await statusOf(call)
  expect(received).toEqual(['0', '1', '2'])
  expect([grpc.status.INTERNAL, grpc.status.UNAVAILABLE, grpc.status.CANCELLED]).toContain(code)
})

test.each<['upload' | 'download' | 'both']>([['upload'], ['download'], ['both']])(
  'our own error before the first message of a stream has its grpc-status: %s',
  async (kind) => {
    await using calls = await start(
      {},
      { app: { upstreamPeer: () => new HttpPeer(undefined, { httpVersion: 2 }) } },
    )
    const { client } = calls
    const call =
      kind === 'upload'
        ? client.upload(() => undefined)
        : kind === 'download'
          ? client.download(Buffer.from('x'))
          : client.both()
    if (kind !== 'download') (call as grpc.ClientWritableStream<Buffer>).write(Buffer.from('x'))
    if (kind !== 'upload') (call as grpc.ClientReadableStream<Buffer>).resume()
    const { code, details } = await statusOf(call as grpc.ClientUnaryCall)
    expect([code, details]).toEqual([grpc.status.UNAVAILABLE, 'Service Unavailable'])
  },
)

test('calls of one connection are balanced one by one, over TLS on both sides', async () => {
  const stack = new AsyncDisposableStack()
  await using _stack = stack
  const tls = grpc.ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(CERTIFICATE.cert), private_key: Buffer.from(CERTIFICATE.key) },
  ])
  const addresses: string[] = []
  for (const name of ['a', 'b', 'c']) {
    const unary: Service['unary'] = (_call, callback) => callback(null, Buffer.from(name))
    addresses.push(stack.use(await startServer({ unary }, tls)).address)
  }
  let next = 0
  const options = { httpVersion: 2, tls: true, sni: 'localhost', ca: CERTIFICATE.cert } as const
  const proxy = stack.use(
    await startProxy(
      { upstreamPeer: () => new HttpPeer(addresses[next++ % addresses.length], options) },
      {},
      CERTIFICATE,
    ),
  )
  const client = new Calls(
    `127.0.0.1:${proxy.port}`,
    grpc.credentials.createSsl(Buffer.from(CERTIFICATE.cert)),
    { 'grpc.ssl_target_name_override': 'localhost', 'grpc.default_authority': 'localhost' },
  ) as unknown as CallsClient
  stack.defer(() => client.close())
  const served: string[] = []
  for (let i = 0; i < 6; i++) {
    served.push(
      await new Promise((resolve, reject) =>
        client.unary(Buffer.from('x'), new grpc.Metadata(), {}, (error, value) =>
          error === null ? resolve(String(value)) : reject(error),
        ),
      ),
    )
  }
  expect(served).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
  expect(proxy.proxy.serverApp.stats().connections).toBe(1)
  expect(proxy.proxy.connector.stats().opened).toBe(3)
})
