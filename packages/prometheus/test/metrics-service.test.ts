import { createConfiguration, silentLogger, type TcpAddress } from '@cirque/core'
import { Gauge, Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { type MetricsServiceOptions, metricsService } from '../src/index.ts'

async function start(registry: Registry, options?: MetricsServiceOptions) {
  const service = metricsService(registry, options)
  service.addTcp('127.0.0.1:0')
  await service.start({
    configuration: createConfiguration(),
    logger: silentLogger,
    shutdown: new AbortController().signal,
  })
  const { port } = service.endpoints()[0] as TcpAddress
  return {
    ask: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init),
    [Symbol.asyncDispose]: async () => service.destroy(),
  }
}

test('serves the registry in its format, with the process in it', async () => {
  const registry = new Registry()
  await using metrics = await start(registry)
  const reply = await metrics.ask('/metrics')
  expect(reply.status).toBe(200)
  expect(reply.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(await reply.text()).toContain('process_cpu_seconds_total')
  expect((await metrics.ask('/')).status).toBe(404)
  expect((await metrics.ask('/metrics', { method: 'DELETE' })).status).toBe(405)
  await using second = await start(registry) // finds them there
  expect((await second.ask('/metrics')).status).toBe(200)
})

test('those who ask at the same time share one collection', async () => {
  const registry = new Registry()
  let collections = 0
  let release: () => void = () => undefined
  new Gauge({
    name: 'slow',
    help: 'slow',
    registers: [registry],
    async collect() {
      collections++
      await new Promise<void>((resolve) => {
        release = resolve
      })
      this.set(1)
    },
  })
  await using metrics = await start(registry, { path: '/m', processMetrics: false })
  const asked = [1, 2, 3].map(() => metrics.ask('/m'))
  await expect.poll(() => collections).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 20))
  release()
  const replies = await Promise.all(asked)
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(collections).toBe(1)
})

test('a collector that fails is an error for this scrape alone', async () => {
  const registry = new Registry()
  let fails = true
  new Gauge({
    name: 'g',
    help: 'g',
    registers: [registry],
    collect() {
      if (fails) throw new Error('not now')
      this.set(2)
    },
  })
  await using metrics = await start(registry, { processMetrics: false })
  expect((await metrics.ask('/metrics')).status).toBe(500)
  fails = false
  expect(await (await metrics.ask('/metrics')).text()).toContain('g 2')
})

test.each([
  ['no registry', undefined, {}],
  ['a path without a slash', new Registry(), { path: 'metrics' }],
  ['an unknown option', new Registry(), { port: 9100 }],
])('%s is refused at construction', (_name, registry, options) => {
  expect(() => metricsService(registry as never, options as never)).toThrow(TypeError)
})
