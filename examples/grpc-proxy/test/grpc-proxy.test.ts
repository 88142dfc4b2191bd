import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type ServiceError, status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { unusedAddress } from '../../../scripts/test-support/test-upstream.ts'
import { type GreeterClient, greeterClient, startGreeter } from '../demo/greeter.ts'

async function startBoth(): Promise<AsyncDisposable & { readonly addresses: readonly [string, string] }> {
  const [one, two] = await Promise.all(['one', 'two'].map((name) => startGreeter('127.0.0.1:0', name)))
  return {
    addresses: [`127.0.0.1:${one?.port}`, `127.0.0.1:${two?.port}`],
    async [Symbol.asyncDispose]() {
      one?.server.forceShutdown()
      two?.server.forceShutdown()
    },
  }
}

function proxyTo(...addresses: string[]): ExampleProcess {
  const peers = addresses.flatMap((address) => ['--pa', address])
  return new ExampleProcess('grpc-proxy', ['--ba', '127.0.0.1:0', ...peers])
}

function greet(client: GreeterClient, name: string): Promise<string> {
  return new Promise((resolve, reject) =>
    client.greet({ name }, (error, value) => (error === null ? resolve(value?.text ?? '') : reject(error))),
  )
}

test('each call of one connection goes to the next service; streams and errors pass', async () => {
  await using greeters = await startBoth()
  await using proxy = proxyTo(...greeters.addresses)
  const client = greeterClient(await proxy.address())
  try {
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await greet(client, 'me'))
    expect(answers.slice(0, 2).sort()).toEqual(['one greets me', 'two greets me'])
    expect(answers.slice(0, 2)).toEqual(answers.slice(2))

    const counted: string[] = []
    for await (const { text } of client.count({ name: 'me' })) counted.push(text)
    expect(counted).toEqual([1, 2, 3].map((i) => expect.stringMatching(`greets me, ${i}`)))

    const error = await greet(client, '').catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, details: 'nobody to greet' })
    await proxy.output(new RegExp(`/demo.Greeter/Count -> ${greeters.addresses[0].slice(0, 9)}`))
  } finally {
    client.close()
  }
})

test('a service that is gone is passed over; without any the call is UNAVAILABLE', async () => {
  await using greeters = await startBoth()
  await using proxy = proxyTo(await unusedAddress(), greeters.addresses[1])
  const client = greeterClient(await proxy.address())
  await using alone = proxyTo(await unusedAddress())
  const other = greeterClient(await alone.address())
  try {
    for (let i = 0; i < 4; i++) expect(await greet(client, 'me')).toBe('two greets me')
    const error = (await greet(other, 'me').catch((reason: unknown) => reason)) as ServiceError
    expect(error.code).toBe(status.UNAVAILABLE)
  } finally {
    client.close()
    other.close()
  }
})

test('the demo’s client calls four times', async () => {
  await using greeters = await startBoth()
  await using proxy = proxyTo(...greeters.addresses)
  const demo = join(import.meta.dirname, '../demo/call.ts')
  const { stdout } = await promisify(execFile)(process.execPath, [demo, await proxy.address()])
  expect(stdout.match(/^(?:one|two) greets you$/gm)).toHaveLength(4)
})

test('a browser calls with gRPC-Web over HTTP/1.1', async () => {
  await using greeters = await startBoth()
  await using proxy = proxyTo(...greeters.addresses)
  const message = JSON.stringify({ name: 'web' })
  const frame = Buffer.alloc(5 + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.write(message, 5)
  const reply = await fetch(`http://${await proxy.address()}/demo.Greeter/Greet`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/grpc-web+json' },
    body: frame,
  })
  const text = Buffer.from(await reply.arrayBuffer()).toString('latin1')
  expect(text).toContain(' greets web"}')
  expect(text).toContain('grpc-status:0\r\n')
})
