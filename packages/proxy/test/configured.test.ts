import { createConfiguration, HttpPeer, parseConfiguration, silentLogger } from '@cirque/core'
import { expect, test } from 'vitest'
import { HttpProxy, httpProxyService } from '../src/index.ts'
import { RawClient } from './support/client.ts'
import { startUpstream } from './support/upstream.ts'
import { serviceContext, until } from './support/waiting.ts'

const app = { upstreamPeer: () => new HttpPeer('127.0.0.1:1') }
const TEXT = `
http_request_body_bytes_max: 3
http_server_name: ""
http_head_timeout_seconds: 0.25
http2: false
retry_buffer_bytes_max: 7
filter_timeout_seconds: 1.5
upstream_keepalive_pool_size_per_peer: 2
upstream_connection_age_max_seconds: 9
upstream_requests_per_connection_max: 5
`

test('a proxy does what the configuration file says', async () => {
  const configuration = parseConfiguration(TEXT)
  await using upstream = await startUpstream((request, response) =>
    request.resume().on('end', () => response.end()),
  )
  const service = httpProxyService(configuration, { upstreamPeer: () => new HttpPeer(upstream.address) })
  service.addTcp('127.0.0.1:0')
  await service.start(serviceContext(silentLogger))
  try {
    const [address] = service.endpoints()
    await using client = new RawClient(address?.kind === 'tcp' ? address.port : 0)
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd')
    const response = await client.response()
    expect(response.status).toBe(413)
    expect(response.head).not.toMatch(/^server:/im)
    await until(() => service.proxy.serverApp.stats().connections === 0, 'a connection stays open')
  } finally {
    service.destroy()
  }
  const { proxy } = service
  expect(proxy.serverApp.options).toMatchObject({ headTimeoutMs: 250, http2: false })
  expect(proxy.serverApp.alpnProtocols).toEqual(['http/1.1'])
  expect([proxy.retryBufferBytesMax, proxy.filterTimeoutMs]).toEqual([7, 1_500])
})

test('options in code go before it, and one that is undefined is none', () => {
  const configuration = parseConfiguration(TEXT)
  const options = {
    server: { headTimeoutMs: 100, serverName: undefined as unknown as string },
    retryBufferBytesMax: 0,
    filterTimeoutMs: 0,
    connector: { keepalivePoolSizePerPeer: undefined as unknown as number },
  }
  const proxy = new HttpProxy(configuration, app, options)
  expect(proxy.serverApp.options).toMatchObject({
    headTimeoutMs: 100,
    serverName: '',
    requestBodyBytesMax: 3,
  })
  expect([proxy.retryBufferBytesMax, proxy.filterTimeoutMs]).toEqual([0, 0])
})

test('without a file, and with a configuration of few keys, the defaults are those of the options', () => {
  const { maxRetries, clientBindToIpv4, clientBindToIpv6, ...rest } = createConfiguration()
  const { caFile, upstreamKeepalivePoolSize, upstreamDebugSslKeylog } = rest
  const few = { maxRetries, clientBindToIpv4, clientBindToIpv6, caFile, upstreamKeepalivePoolSize }
  const one = new HttpProxy({ ...few, upstreamDebugSslKeylog }, app)
  const other = new HttpProxy(createConfiguration(), app)
  expect(one.serverApp.options).toEqual(other.serverApp.options)
  expect([one.retryBufferBytesMax, one.filterTimeoutMs]).toEqual([65_536, 60_000])
  expect([other.retryBufferBytesMax, other.filterTimeoutMs]).toEqual([65_536, 60_000])
})
