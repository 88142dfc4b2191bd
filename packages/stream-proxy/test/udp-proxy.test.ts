import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { ProxyError } from '@cirque/error'
import { LoadBalancer, roundRobin } from '@cirque/load-balancing'
import { expect, test } from 'vitest'
import { type UdpProxy, type UdpProxyOptions, type UdpProxyService, udpProxyService } from '../src/index.ts'
import { Running, until } from './support.ts'

/** A UDP socket on port 0 that keeps what it gets. Closed at the end of its scope. */
class Peer implements AsyncDisposable {
  readonly socket: Socket
  readonly received: string[] = []
  readonly ports: Set<number> = new Set()

  private constructor(type: 'udp4' | 'udp6', answer: ((text: string) => string[]) | undefined) {
    this.socket = createSocket(type)
    this.socket.on('message', (message, from) => {
      this.received.push(String(message))
      this.ports.add(from.port)
      for (const text of answer?.(String(message)) ?? []) this.socket.send(text, from.port, from.address)
    })
  }

  static async open(answer?: (text: string) => string[], host: string = '127.0.0.1'): Promise<Peer> {
    const peer = new Peer(host.includes(':') ? 'udp6' : 'udp4', answer)
    peer.socket.bind(0, host)
    await once(peer.socket, 'listening')
    return peer
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

const echo = (text: string) => [`${text}!`]

function proxyTo(
  address: string | undefined,
  options?: UdpProxyOptions,
  hooks: Partial<UdpProxy> = {},
): Promise<Running<UdpProxyService>> {
  const service = udpProxyService({ upstreamPeer: () => address, ...hooks }, options)
  return Running.start(service.addUdp('127.0.0.1:0'))
}

function send(client: Peer, proxy: Running<UdpProxyService>, text: string): void {
  client.socket.send(text, proxy.port(), '127.0.0.1')
}

test('relays both ways, with a socket of its own for each client', async () => {
  await using upstream = await Peer.open(echo)
  await using proxy = await proxyTo(upstream.address)
  await using one = await Peer.open()
  await using two = await Peer.open()
  for (const text of ['a', 'b', 'c']) send(one, proxy, text)
  send(two, proxy, 'z')
  await until(() => one.received.length === 3 && two.received.length === 1)
  expect(one.received.toSorted()).toEqual(['a!', 'b!', 'c!'])
  expect(two.received).toEqual(['z!'])
  expect(upstream.ports.size).toBe(2)
  expect(proxy.service.stats()).toEqual({
    sessions: 2,
    open: 2,
    refused: 0,
    failed: 0,
    dropped: 0,
    datagramsFromClients: 4,
    datagramsFromUpstreams: 4,
    bytesFromClients: 4,
    bytesFromUpstreams: 8,
  })
})

test('a session ends when it falls silent, and the next datagram begins another', async () => {
  await using upstream = await Peer.open(echo)
  const ended: [number, unknown][] = []
  await using proxy = await proxyTo(
    upstream.address,
    { idleTimeoutMs: 50 },
    { logging: (session, error) => ended.push([session.datagramsFromUpstream, error]) },
  )
  await using client = await Peer.open()
  send(client, proxy, 'a')
  await until(() => proxy.service.stats().sessions === 1 && proxy.service.stats().open === 0)
  expect(ended).toEqual([[1, undefined]])
  send(client, proxy, 'b')
  await until(() => client.received.length === 2)
  expect(proxy.service.stats().sessions).toBe(2)
})

test('responsesPerDatagram frees the session after the last response, not after the first', async () => {
  await using upstream = await Peer.open((text) => [`${text}1`, `${text}2`])
  await using proxy = await proxyTo(upstream.address, { responsesPerDatagram: 2 })
  await using client = await Peer.open()
  send(client, proxy, 'a')
  send(client, proxy, 'b')
  await until(() => client.received.length === 4)
  expect(client.received.toSorted()).toEqual(['a1', 'a2', 'b1', 'b2'])
  await until(() => proxy.service.stats().open === 0)
})

test('at sessionsMax further clients are dropped and those that are in are served', async () => {
  await using upstream = await Peer.open(echo)
  await using proxy = await proxyTo(upstream.address, { sessionsMax: 2 })
  await using one = await Peer.open()
  await using two = await Peer.open()
  await using three = await Peer.open()
  send(one, proxy, 'a')
  send(two, proxy, 'a')
  await until(() => one.received.length + two.received.length === 2)
  send(three, proxy, 'a')
  await until(() => proxy.service.stats().refused === 1)
  send(one, proxy, 'b')
  await until(() => one.received.length === 2)
  expect(three.received).toEqual([])
})

test('what comes while the peer is chosen is held, up to pendingMax', async () => {
  await using upstream = await Peer.open(echo)
  const { promise, resolve } = Promise.withResolvers<string>()
  await using proxy = await proxyTo('', { pendingMax: 3 }, { upstreamPeer: () => promise })
  await using client = await Peer.open()
  for (const text of ['a', 'b', 'c', 'd']) send(client, proxy, text)
  await until(() => proxy.service.stats().datagramsFromClients === 4)
  resolve(upstream.address)
  await until(() => client.received.length === 3)
  expect(proxy.service.stats().dropped).toBe(1)
})

test('what all sessions hold is bounded by pendingBytesMax, and let go', async () => {
  await using upstream = await Peer.open(echo)
  let peer = Promise.withResolvers<string>()
  await using proxy = await proxyTo('', { pendingBytesMax: 65_536 }, { upstreamPeer: () => peer.promise })
  const large = 'x'.repeat(30_000)
  for (const _round of [1, 2]) {
    const before = proxy.service.stats()
    await using one = await Peer.open()
    await using two = await Peer.open()
    send(one, proxy, large)
    send(one, proxy, large)
    await until(() => proxy.service.stats().datagramsFromClients === before.datagramsFromClients + 2)
    send(two, proxy, large)
    send(two, proxy, 'small')
    await until(() => proxy.service.stats().datagramsFromClients === before.datagramsFromClients + 4)
    expect(proxy.service.stats().dropped).toBe(before.dropped + 1)
    peer.resolve(upstream.address)
    peer = Promise.withResolvers()
    await until(() => one.received.length === 2 && two.received.length === 1)
    expect(two.received).toEqual(['small!'])
  }
})

test('a peer that nobody listens at ends the session as the upstream’s failure; a balancer moves on', async () => {
  await using upstream = await Peer.open(echo)
  const gone = await Peer.open()
  const goneAddress = gone.address
  await gone[Symbol.asyncDispose]()
  const balancer = LoadBalancer.fromAddresses([goneAddress, upstream.address], roundRobin())
  const errors: (string | undefined)[] = []
  await using proxy = await proxyTo(
    '',
    {},
    {
      upstreamPeer: () => balancer.select(),
      logging: (_session, error) => errors.push(error?.source),
    },
  )
  await using client = await Peer.open()
  while (client.received.length === 0) {
    send(client, proxy, 'a')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await until(() => errors.length > 0 || balancer.backends[0]?.address === upstream.address)
  for (const source of errors) expect(source).toBe('upstream')
})

test('no peer, a hook that throws, and a name that is none end the session with an error', async () => {
  const outcomes: [UdpProxy['upstreamPeer'], string][] = [
    [() => undefined, 'NO_PEER'],
    [() => 'unix:/run/a', 'NO_PEER'],
    [() => 'nonsense', 'FILTER_FAILED'],
    [() => Promise.reject(new Error('x')), 'FILTER_FAILED'],
    [() => Promise.reject(new ProxyError('CUSTOM_X', 'internal', 'x')), 'CUSTOM_X'],
    [() => 'name.invalid:1', 'DNS_FAILED'],
  ]
  for (const [upstreamPeer, code] of outcomes) {
    const codes: (string | undefined)[] = []
    const dns = { resolve: () => Promise.reject(Object.assign(new Error('x'), { code: 'ENOTFOUND' })) }
    await using proxy = await proxyTo(
      '',
      { dns },
      { upstreamPeer, logging: (_session, error) => codes.push(error?.code) },
    )
    await using client = await Peer.open()
    send(client, proxy, 'a')
    await until(() => codes.length > 0)
    expect(codes).toEqual([code])
    expect(proxy.service.stats()).toMatchObject({ open: 0, failed: 1 })
  }
})

test('names of peers are resolved', async () => {
  await using upstream = await Peer.open(echo)
  const dns = { resolve: async () => ({ addresses: [{ address: '127.0.0.1', family: 4 as const }] }) }
  await using proxy = await proxyTo(`upstream.example:${upstream.socket.address().port}`, { dns })
  await using client = await Peer.open()
  send(client, proxy, 'a')
  await until(() => client.received.length === 1)
})

test('the filter drops before anything is held, also when it throws', async () => {
  await using upstream = await Peer.open(echo)
  let answer = () => false
  await using proxy = await proxyTo(upstream.address, {}, { clientFilter: () => answer() })
  await using client = await Peer.open()
  send(client, proxy, 'a')
  await until(() => proxy.service.stats().refused === 1)
  answer = () => {
    throw new Error('x')
  }
  send(client, proxy, 'b')
  await until(() => proxy.service.stats().refused === 2)
  let refused = 2
  // What is not meant to admit does not.
  const rejects = () => Promise.reject(new Error('x'))
  for (const odd of [() => null, () => 0, () => 'yes', async () => true, rejects]) {
    answer = odd as () => never
    send(client, proxy, 'b')
    await until(() => proxy.service.stats().refused === refused + 1)
    refused++
  }
  answer = () => true
  send(client, proxy, 'c')
  await until(() => client.received.length === 1)
  expect(upstream.received).toEqual(['c'])
})

test('serves IPv6 clients from an IPv4 upstream', async () => {
  await using upstream = await Peer.open(echo)
  const service = udpProxyService({ upstreamPeer: () => upstream.address }).addUdp('[::1]:0', {
    ipv6Only: true,
  })
  await using proxy = await Running.start(service)
  await using client = await Peer.open(undefined, '::1')
  client.socket.send('a', proxy.port(), '::1')
  await until(() => client.received.length === 1)
})

test('datagrams of any size arrive whole, empty ones too', async () => {
  await using upstream = await Peer.open((text) => [text])
  await using proxy = await proxyTo(upstream.address)
  await using client = await Peer.open()
  for (const size of [0, 1, 1500, 65_507]) send(client, proxy, 'x'.repeat(size))
  await until(() => client.received.length === 4)
  expect(client.received.map((text) => text.length).toSorted((a, b) => a - b)).toEqual([0, 1, 1500, 65_507])
})

test('draining serves open sessions until they fall silent, and begins none', async () => {
  await using upstream = await Peer.open(echo)
  await using proxy = await proxyTo(upstream.address, { drainIdleTimeoutMs: 150 })
  await using client = await Peer.open()
  await using late = await Peer.open()
  send(client, proxy, 'a')
  await until(() => client.received.length === 1)
  const drained = proxy.service.drain()
  send(client, proxy, 'b')
  send(late, proxy, 'b')
  await until(() => client.received.length === 2)
  await drained
  expect(late.received).toEqual([])
  expect(proxy.service.endpoints()).toEqual([])
})

test('an address in use is an error at start, and leaves nothing open', async () => {
  await using holder = await Peer.open()
  const service = udpProxyService({ upstreamPeer: () => undefined })
  service.addUdp('127.0.0.1:0').addUdp(holder.address)
  await expect(Running.start(service)).rejects.toThrow(`Cannot listen on UDP ${holder.address}`)
  expect(service.endpoints()).toEqual([])
})

test('destroyed while it binds, start rejects', async () => {
  const service = udpProxyService({ upstreamPeer: () => undefined }).addUdp('localhost:0')
  const starting = Running.start(service)
  service.destroy()
  await expect(starting).rejects.toThrow('Cannot listen on UDP localhost:0')
})

test.each<[object, ErrorConstructor]>([
  [{ sessionsMax: 0 }, RangeError],
  [{ idleTimeoutMs: 0 }, RangeError],
  [{ responsesPerDatagram: -1 }, RangeError],
  [{ pendingMax: 0 }, RangeError],
  [{ pendingBytesMax: 1 }, RangeError],
  [{ sendQueueBytesMax: 1 }, RangeError],
  [{ sessions: 1 }, TypeError],
])('refuses the option %j', (options, error) => {
  expect(() => udpProxyService({ upstreamPeer: () => undefined }, options)).toThrow(error)
})

test('refuses a Unix address, an unknown listener option and an app without upstreamPeer', () => {
  const service = udpProxyService({ upstreamPeer: () => undefined })
  expect(() => service.addUdp('unix:/run/a')).toThrow(TypeError)
  expect(() => service.addUdp('127.0.0.1:0', { backlog: 1 } as never)).toThrow(TypeError)
  expect(() => udpProxyService({} as UdpProxy)).toThrow(TypeError)
})
