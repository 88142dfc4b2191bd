import { createSocket, type Socket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'

/** A DNS server that knows one address for every name; it counts queries. */
class Dns implements AsyncDisposable {
  readonly socket: Socket = createSocket('udp4')
  queryCount = 0

  static async start(address: readonly number[]): Promise<Dns> {
    const dns = new Dns()
    dns.socket.on('message', (query, from) => {
      dns.queryCount++
      // Behind the head: one name, which ends with a zero, then type and class.
      const question = query.subarray(12, query.indexOf(0, 12) + 5)
      const head = Buffer.from([0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
      query.copy(head, 0, 0, 2)
      const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address])
      dns.socket.send(Buffer.concat([head, question, answer]), from.port, from.address)
    })
    dns.socket.bind(0, '127.0.0.1')
    await once(dns.socket, 'listening')
    return dns
  }

  get address(): string {
    return `127.0.0.1:${this.socket.address().port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.socket, 'close')
    this.socket.close()
    await closed
  }
}

test('relays DNS queries to its servers in turn', async () => {
  await using one = await Dns.start([192, 0, 2, 1])
  await using two = await Dns.start([192, 0, 2, 2])
  const pa = ['--pa', one.address, '--pa', two.address]
  await using proxy = new ExampleProcess('udp-proxy', ['--ba', '127.0.0.1:0', ...pa])
  const address = await proxy.address()
  const answers: string[] = []
  for (let index = 0; index < 4; index++) {
    // A resolver, and so a client port, for each query.
    const resolver = new Resolver()
    resolver.setServers([address])
    answers.push(...(await resolver.resolve4(`name-${index}.example`)))
  }
  expect(answers.toSorted()).toEqual(['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.2'])
  expect([one.queryCount, two.queryCount]).toEqual([2, 2])
  const { status } = await proxy.stop()
  expect(status).toBe(0)
})

test.each([
  [['--help'], 0, /^Usage: udp-proxy /],
  [['--pa', '127.0.0.1:53', '--ba', '127.0.0.1:0', '-t'], 0, /Configuration is valid/],
  [[], 1, /--pa is missing/],
  [['--pa', 'nowhere'], 1, /"nowhere": the port is missing/],
  [['--pa', '127.0.0.1:53', '--ba', 'unix:/run/a'], 1, /UDP needs a host and port/],
] as const)('the command line %j ends with status %i', async (argv, wanted, says) => {
  await using program = new ExampleProcess('udp-proxy', argv)
  const { status, stdout, stderr } = await program.ended
  expect(stdout + stderr).toMatch(says)
  expect(status).toBe(wanted)
})
