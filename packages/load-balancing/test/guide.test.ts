import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'
import { loadBalancerSettings } from '../src/options.ts'
import { circuitBreakerSettings } from '../src/resilience/circuit-breaker.ts'
import { outlierSettings } from '../src/resilience/outlier.ts'

const guide = new URL('../../../docs/user-guide/', import.meta.url)

test.each(['load-balancing.md', 'failover.md'])('the examples of %s print what they say', async (page) => {
  const snippets = await runReadmeSnippets(new URL(page, guide), new URL('..', import.meta.url))
  expect(snippets.length).toBeGreaterThan(2)
  for (const { code, line, stdout, stderr, exitCode } of snippets) {
    expect({ line, stderr, exitCode }).toEqual({ line, stderr: '', exitCode: 0 })
    // Each promise in its order; what comes from callbacks may stand between.
    let at = 0
    for (const [, promised = ''] of code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)) {
      const found = stdout.indexOf(promised, at)
      if (!/=> console/.test(code)) expect(found, promised).toBeGreaterThanOrEqual(at)
      expect(stdout).toContain(promised)
      at = Math.max(at, found + promised.length)
    }
  }
})

test('every option of a balancer, of ejection and of the breaker is in the guide', async () => {
  const balancing = await readFile(new URL('load-balancing.md', guide), 'utf8')
  const failover = await readFile(new URL('failover.md', guide), 'utf8')
  for (const name of Object.keys(loadBalancerSettings({}))) expect(balancing).toContain(`\`${name}\``)
  for (const name of Object.keys({ ...circuitBreakerSettings({}), ...outlierSettings({}) })) {
    expect(failover).toContain(`\`${name}\``)
  }
})
