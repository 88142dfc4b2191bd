import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import { ProxyError } from '@cirque/error'
import * as grpc from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../src/index.ts'
import { rawService } from './support/grpc.ts'
import { startProxy } from './support/proxy.ts'
import { gate } from './support/waiting.ts'

const ECHO = rawService('test.Echo')
const Echo = grpc.makeGenericClientConstructor(ECHO, 'Echo')

interface EchoClient extends grpc.Client {
  unary: (
    request: Buffer,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: grpc.requestCallback<Buffer>,
  ) => grpc.ClientUnaryCall
  upload: (callback: grpc.requestCallback<Buffer>) => grpc.ClientWritableStream<Buffer>
  download: (request: Buffer) => grpc.ClientReadableStream<Buffer>
  both: () => grpc.ClientDuplexStream<Buffer, Buffer>
}

const cancelled = gate()

/** A service that echoes, counts, fails and stalls, as the first message says. */
const service: grpc.UntypedServiceImplementation = {
  unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
    const text = call.request.toString()
    if (text === 'stall') {
      call.on('cancelled', () => cancelled.open())
      return
    }
    if (text === 'fail') {
      const metadata = new grpc.Metadata()
      metadata.set('x-detail', 'why')
      callback({ code: grpc.status.NOT_FOUND, details: 'no such thing', metadata })
      return
    }
    const trailer = new grpc.Metadata()
    trailer.set('x-sum-bin', Buffer.from([0, 255, 1]))
    const initial = new grpc.Metadata()
    initial.set('x-seen', String(call.metadata.get('x-sent')[0]))
    call.sendMetadata(initial)
    callback(null, call.request, trailer)
  },
  upload(call: grpc.ServerReadableStream<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
    let size = 0
    call.on('data', (message: Buffer) => {
      size += message.length
    })
    call.on('end', () => callback(null, Buffer.from(`${size}`)))
  },
  download(call: grpc.ServerWritableStream<Buffer, Buffer>) {
    for (let i = 0; i < 10; i++) call.write(Buffer.from(`${i}`))
    if (call.request.toString() !== 'fail') call.end()
    else call.emit('error', { code: grpc.status.DATA_LOSS, details: 'after ten' })
  },
  both(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
    call.on('data', (message: Buffer) => call.write(message))
    call.on('end', () => call.end())
  },
}

async function startEcho(app: Partial<ProxyHttp> = {}, options: HttpPeerOptions = {}) {
  const stack = new AsyncDisposableStack()
  const server = new grpc.Server()
  server.addService(ECHO, service)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  stack.defer(() => server.forceShutdown())
  const peer = new HttpPeer(`127.0.0.1:${port}`, { httpVersion: 2, ...options })
  const proxy = stack.use(await startProxy({ upstreamPeer: () => peer, ...app }, { server: { h2c: true } }))
  const client = new Echo(`127.0.0.1:${proxy.port}`, grpc.credentials.createInsecure(), {
    'grpc.enable_retries': 0,
  }) as unknown as EchoClient
  stack.defer(() => client.close())
  return { client, proxy, server, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

interface UnaryResult {
  readonly code: number
  readonly details: string
  readonly value: string | undefined
  readonly initial: grpc.Metadata | undefined
  readonly trailing: grpc.Metadata
}

function unary(client: EchoClient, text: string, options: grpc.CallOptions = {}): Promise<UnaryResult> {
  return new Promise((resolve) => {
    const metadata = new grpc.Metadata()
    metadata.set('x-sent', 'abc')
    let value: string | undefined
    let initial: grpc.Metadata | undefined
    const call = client.unary(Buffer.from(text), metadata, options, (_error, answer) => {
      value = answer?.toString()
    })
    call.on('metadata', (given) => {
      initial = given
    })
    call.on('status', ({ code, details, metadata: trailing }) =>
      setImmediate(() => resolve({ code, details, value, initial, trailing })),
    )
  })
}

test('unary calls pass with metadata of all kinds; calls share a connection', async () => {
  await using echo = await startEcho()
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => unary(echo.client, `m${i}`)))
  expect(answers.map(({ value }) => value)).toEqual(answers.map((_, i) => `m${i}`))
  const [first] = answers
  expect(first?.code).toBe(grpc.status.OK)
  expect(first?.initial?.get('x-seen')).toEqual(['abc'])
  expect(first?.trailing.get('x-sum-bin')).toEqual([Buffer.from([0, 255, 1])])
  expect(echo.proxy.proxy.connector.stats().opened).toBe(1)
})

test('a service’s own error passes with its details', async () => {
  await using echo = await startEcho()
  const { code, details, trailing } = await unary(echo.client, 'fail')
  expect([code, details, trailing.get('x-detail')]).toEqual([grpc.status.NOT_FOUND, 'no such thing', ['why']])
})

test('streams pass: from the client, from the server, both', async () => {
  await using echo = await startEcho()
  const size = await new Promise<string>((resolve, reject) => {
    const call = echo.client.upload((error, value) =>
      error === null ? resolve(String(value)) : reject(error),
    )
    for (let i = 0; i < 50; i++) call.write(Buffer.alloc(10_000))
    call.end()
  })
  expect(size).toBe('500000')

  const received: string[] = []
  const download = echo.client.download(Buffer.from('all'))
  download.on('data', (message: Buffer) => received.push(message.toString()))
  await new Promise((resolve) => download.on('status', resolve))
  expect(received.join('')).toBe('0123456789')

  const both = echo.client.both()
  const echoes: string[] = []
  await new Promise<void>((resolve, reject) => {
    both.on('error', reject)
    both.on('data', (message: Buffer) => {
      echoes.push(message.toString())
      // Each message waits for the echo of the one before: neither side may be held back.
      if (echoes.length < 5) both.write(Buffer.from(`${echoes.length}`))
      else both.end()
    })
    both.on('status', () => resolve())
    both.write(Buffer.from('0'))
  })
  expect(echoes).toEqual(['0', '1', '2', '3', '4'])
})

test('an error after messages comes after them', async () => {
  await using echo = await startEcho()
  const download = echo.client.download(Buffer.from('fail'))
  let count = 0
  download.on('data', () => count++)
  const error = await new Promise<grpc.ServiceError>((resolve) => download.on('error', resolve as () => void))
  expect([count, error.code, error.details]).toEqual([10, grpc.status.DATA_LOSS, 'after ten'])
})

test('a deadline cancels the call at the service', async () => {
  await using echo = await startEcho()
  const { code } = await unary(echo.client, 'stall', { deadline: Date.now() + 100 })
  expect(code).toBe(grpc.status.DEADLINE_EXCEEDED)
  await cancelled.promise
})

test.each([
  [
    'no upstream',
    { upstreamPeer: () => new HttpPeer('127.0.0.1:1', { httpVersion: 2 }) },
    grpc.status.UNAVAILABLE,
  ],
  ['no peer', { upstreamPeer: () => new HttpPeer(undefined, { httpVersion: 2 }) }, grpc.status.UNAVAILABLE],
  [
    'a filter that answers 403',
    {
      requestFilter: (session: { respondError(status: number): void }) => {
        session.respondError(403)
        return true
      },
    },
    grpc.status.PERMISSION_DENIED,
  ],
  [
    'a filter that throws',
    {
      requestFilter: () => {
        throw new ProxyError('HTTP_STATUS', 'internal', 'Too many', { status: 429 })
      },
    },
    grpc.status.UNAVAILABLE,
  ],
] as const)('our own answers carry a grpc-status: %s', async (_name, app, expected) => {
  await using echo = await startEcho(app as Partial<ProxyHttp>)
  expect((await unary(echo.client, 'x')).code).toBe(expected)
})

test('a read timeout is UNAVAILABLE, as gRPC maps 504', async () => {
  await using echo = await startEcho({}, { readTimeoutMs: 50 })
  const { code, details } = await unary(echo.client, 'stall')
  expect([code, details]).toEqual([grpc.status.UNAVAILABLE, 'Gateway Timeout'])
})

test('the guide’s table of gRPC statuses is the code’s', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/user-guide/http2-and-grpc.md'), 'utf8')
  for (const [status, name] of [
    [404, 'UNIMPLEMENTED'],
    [413, 'RESOURCE_EXHAUSTED'],
    [503, 'UNAVAILABLE'],
  ]) {
    const row = page.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${name}\``))
    expect(row).toContain(`${status}`)
  }
})
