import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Server } from '@cirque/core'
import { expect, test } from 'vitest'
import { proxyMetrics } from '../src/index.ts'

const program = new URL('./programs/threaded-proxy.ts', import.meta.url).pathname

/** One request, on a connection of the agent's; the status, or 0 if the connection was cut. */
function get(agent: Agent, address: string, path: string): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const sent = request(`http://${address}${path}`, { agent }, (response) => {
    response.resume().on('end', () => resolve(response.statusCode ?? 0))
    response.on('error', () => resolve(0))
  })
  sent.on('error', () => resolve(0))
  sent.end()
  return promise
}

test('the metrics are those of all threads, and of threads that have died', { timeout: 60_000 }, async () => {
  const origin = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const { port } = origin.address() as AddressInfo
  const child = spawn(process.execPath, ['--conditions=@cirque/source', program, String(port)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stderr.resume()
  const agents = Array.from({ length: 8 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
  try {
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    const [, web = '', scraped = ''] = line.split(' ')
    const scrape = async () => {
      const text = await (await fetch(`http://${scraped}/metrics`)).text()
      return (sample: string) =>
        Number(
          text
            .split('\n')
            .find((each) => each.startsWith(`${sample} `))
            ?.slice(sample.length),
        )
    }
    const until = async (sample: string, wanted: number) => {
      for (;;) {
        const value = await scrape()
        if (value(sample) === wanted) return value
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    // Eight connections: four for each of the two threads.
    for (let round = 0; round < 5; round++) {
      for (const agent of agents) expect(await get(agent, web, '/')).toBe(200)
    }
    const requests = 'cirque_http_requests_total{method="GET",code="200"}'
    const value = await until(requests, 40)
    const upstream = `upstream="127.0.0.1:${port}"`
    expect(value(`cirque_upstream_attempts_total{${upstream},outcome="2xx"}`)).toBe(40)
    expect(value('cirque_http_request_duration_seconds_count{code="2xx"}')).toBe(40)
    expect(value(`cirque_upstream_response_seconds_bucket{le="+Inf",${upstream}}`)).toBe(40)
    expect(value('cirque_http_response_body_bytes_total')).toBe(200)
    expect(value('cirque_http_requests_active')).toBe(0)
    expect(value('cirque_downstream_connections{service="HTTP proxy"}')).toBe(8)
    // A pool per thread, a connection in each.
    expect(value('cirque_upstream_connections_opened_total{service="HTTP proxy"}')).toBe(2)
    expect(value('cirque_upstream_connections_idle{service="HTTP proxy"}')).toBe(2)

    for (const thread of [0, 1, 2])
      expect(value(`cirque_thread_busy_seconds_total{thread="${thread}"}`)).toBeGreaterThan(0)

    expect(await get(agents[0] as Agent, web, '/crash')).toBe(0)
    for (const agent of agents) while ((await get(agent, web, '/')) !== 200);
    const later = await until('cirque_http_requests_active', 0)
    expect(later(requests)).toBeGreaterThanOrEqual(48)
    expect(later(`cirque_upstream_attempts_total{${upstream},outcome="2xx"}`)).toBeGreaterThanOrEqual(48)
    expect(later('cirque_upstream_connections_opened_total{service="HTTP proxy"}')).toBeGreaterThanOrEqual(2)
  } finally {
    for (const agent of agents) agent.destroy()
    child.kill('SIGKILL')
    origin.closeAllConnections()
    origin.close()
  }
})

test('two sets of one server need prefixes of their own, and no thread more than there is room for', () => {
  const { shared } = new Server({ argv: false })
  proxyMetrics({ shared })
  expect(() => proxyMetrics({ shared })).toThrow('prefix "cirque_" already')
  proxyMetrics({ shared, prefix: 'other_' })
  expect(() => proxyMetrics({ threadsMax: 0 })).toThrow('threadsMax must be an integer from 1 to 1024')
})
