import { readFileSync } from 'node:fs'
import { createConfiguration, HttpPeer } from '@cirque/core'
import { expect, test } from 'vitest'
import { HttpProxy, PHASES } from '../src/index.ts'

const page = readFileSync(new URL('../../../docs/user-guide/phases.md', import.meta.url), 'utf8')
const source = readFileSync(new URL('../src/proxy-http.ts', import.meta.url), 'utf8')

test('PHASES and the hooks of ProxyHttp are the same names', () => {
  const start = source.indexOf('export interface ProxyHttp<')
  const body = source.slice(start, source.indexOf('\n}\n', start))
  const hooks = [...body.matchAll(/^ {2}(\w+)\??\(/gm)].map((match) => match[1])
  expect(hooks.length).toBeGreaterThan(20)
  expect(PHASES.map(({ name }) => name).sort()).toEqual(hooks.sort())
})

test('the page’s table is PHASES, row by row', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| (.*) \|$/gm)].map(
    ([, name, frequency, purpose]) => ({
      name,
      frequency,
      purpose,
    }),
  )
  expect(rows).toEqual(PHASES)
})

test('the page’s chart has every phase, and no other name', () => {
  const chart = /## The chart\n\n```text\n(.*?)```/s.exec(page)?.[1] ?? ''
  const names = new Set(chart.match(/\b[a-z]+(?:[A-Z][a-z]+)+|\blogging\b/g))
  expect([...names].sort()).toEqual(PHASES.map(({ name }) => name).sort())
})

test('a hook that is misspelt or is no function is refused, since it would never be called', () => {
  const make = (more: object) => () =>
    new HttpProxy(createConfiguration(), { upstreamPeer: () => new HttpPeer(undefined), ...more })
  expect(make({ requestfilter: () => true })).toThrow(
    'no hook "requestfilter"; did you mean "requestFilter"?',
  )
  expect(make({ request_filter: () => true })).toThrow('did you mean "requestFilter"?')
  expect(make({ requestFilter: 'x' })).toThrow("The hook requestFilter must be a method, received 'x'")
  expect(make({ requestFilter: undefined, requestFilters: [], _logging: 1 })).not.toThrow()
  class Inherited {
    upstream_peer(): void {}
  }
  class App extends Inherited {
    upstreamPeer(): HttpPeer {
      return new HttpPeer(undefined)
    }
  }
  expect(() => new HttpProxy(createConfiguration(), new App())).toThrow('did you mean "upstreamPeer"?')
  expect(() => new HttpProxy(undefined as never, new App())).toThrow('such as server.configuration')
})
