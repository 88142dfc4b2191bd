// A proxy in worker threads, and its metrics: `node threaded-proxy.ts ORIGIN_PORT`. `/crash` ends the thread that gets it.
import { HttpPeer, Server } from '@cirque/core'
import { httpProxyService } from '@cirque/proxy'
import { metricsService, proxyMetrics } from '../../src/index.ts'

const originPort = Number(process.argv[2])
const server = new Server({ argv: false, configuration: { threads: 2 } })
const metrics = proxyMetrics({ shared: server.shared })
const app = {
  requestFilter: ({ request }: { request: { path: string } }) => {
    if (request.path === '/crash')
      setImmediate(() => {
        throw new Error('told to crash')
      })
  },
  upstreamPeer: () => new HttpPeer(`127.0.0.1:${originPort}`),
}
const proxy = httpProxyService(server.configuration, app, { observers: [metrics] })
proxy.addTcp('127.0.0.1:0')
metrics.watch(proxy)
const service = metricsService(metrics.registry)
service.addTcp('127.0.0.1:0')
server.addServices([proxy, service])
server.onPhase((phase) => {
  if (phase !== 'running' || server.thread !== 0) return
  const [web, scraped] = [proxy, service].map((each) => each.endpoints()[0]?.text)
  process.stdout.write(`running ${web} ${scraped}\n`)
})
await server.runForever()
