import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createConfiguration, HttpPeer, silentLogger, type TcpAddress } from '@cirque/core'
import {
  type HttpProxyService,
  type HttpProxyServiceOptions,
  httpProxyService,
  type ProxyHttp,
} from '../../src/index.ts'

/** For tests of what observes a proxy, here and in the packages beside: a proxy in front of an origin, both on ports of their own. Disposal cuts every connection. */
export interface Running extends AsyncDisposable {
  readonly port: number
  readonly originPort: number
  readonly service: HttpProxyService
  /** Resolves once no exchange is under way. */
  idle(): Promise<void>
}

export async function start(
  options: HttpProxyServiceOptions,
  listener: RequestListener = (_request, response) => response.end('hello'),
  app: Partial<ProxyHttp> = {},
): Promise<Running> {
  const origin = createServer(listener)
  origin.listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port: originPort } = origin.address() as AddressInfo
  const service = httpProxyService(
    createConfiguration(),
    { upstreamPeer: () => new HttpPeer(`127.0.0.1:${originPort}`), ...app },
    options,
  )
  service.addTcp('127.0.0.1:0')
  await service.start({
    configuration: createConfiguration(),
    logger: silentLogger,
    shutdown: new AbortController().signal,
  })
  const { port } = service.endpoints()[0] as TcpAddress
  const idle = () => until(() => service.proxy.stats().active === 0)
  return {
    port,
    originPort,
    service,
    idle,
    async [Symbol.asyncDispose]() {
      service.destroy()
      origin.closeAllConnections()
      origin.close()
      await idle()
    },
  }
}

/** Waits until `condition` holds; fails after five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Still not so: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
