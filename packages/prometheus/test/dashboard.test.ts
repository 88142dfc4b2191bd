import { readFileSync } from 'node:fs'
import { collectDefaultMetrics } from 'prom-client'
import { expect, test } from 'vitest'
import { proxyMetrics } from '../src/index.ts'

test('the dashboard asks for metrics and labels that exist', async () => {
  const text = readFileSync(new URL('../../../docs/grafana/cirque.json', import.meta.url), 'utf8')
  const { panels } = JSON.parse(text) as { panels: { title: string; targets: { expr: string }[] }[] }
  const { registry } = proxyMetrics()
  collectDefaultMetrics({ register: registry })
  const known = new Set(registry.getMetricsAsArray().map(({ name }) => name))
  expect(panels.length).toBeGreaterThan(10)
  for (const { title, targets } of panels) {
    for (const { expr } of targets) {
      const [, metric = ''] = /([a-z][a-z0-9_]*)\{/.exec(expr) ?? []
      expect(known, title).toContain(metric.replace(/_bucket$/, ''))
    }
  }
})

test('the guide lists every metric, and none that does not exist', () => {
  const page = readFileSync(new URL('../../../docs/user-guide/metrics.md', import.meta.url), 'utf8')
  const listed = [...page.matchAll(/^\| `(cirque_\w+)`/gm)].map(([, name]) => name)
  const names = proxyMetrics()
    .registry.getMetricsAsArray()
    .map(({ name }) => name)
  expect(listed.sort()).toEqual(names.sort())
})
