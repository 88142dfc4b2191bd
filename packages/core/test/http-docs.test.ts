import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'
import { Connector, HttpPeer, serveHttp } from '../src/index.ts'

const GUIDE = new URL('../../../docs/user-guide/', import.meta.url)
const PACKAGE = new URL('../', import.meta.url)
const read = (page: string): string => readFileSync(new URL(page, GUIDE), 'utf8')

test.each(['peer.md', 'timeouts.md', 'pooling.md'])(
  'the examples of %s print what they say',
  async (page) => {
    for (const { code, stdout, stderr, exitCode } of await runReadmeSnippets(new URL(page, GUIDE), PACKAGE)) {
      expect(exitCode, stderr).toBe(0)
      const promised = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map((match) => `${match[1]}\n`)
      expect(promised.length).toBeGreaterThan(0)
      expect(stdout).toBe(promised.join(''))
    }
  },
)

/** The defaults that a page's tables give, by option: the first number of the second column. */
function tableOf(page: string): Map<string, string> {
  const table = new Map<string, string>()
  for (const [, names, value] of read(page).matchAll(/^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|/gm)) {
    for (const name of names?.matchAll(/\w+/g) ?? []) table.set(name[0], value ?? '')
  }
  return table
}

test('peer.md lists every option, with its default', () => {
  const table = tableOf('peer.md')
  for (const [name, value] of Object.entries(new HttpPeer(undefined).options)) {
    expect(table.has(name), name).toBe(true)
    if (typeof value === 'number') expect(Number.parseInt(table.get(name) ?? '', 10), name).toBe(value)
    if (typeof value === 'boolean') expect(table.get(name), name).toBe(`\`${value}\``)
  }
})

test('timeouts.md gives the defaults of both sides', () => {
  const table = tableOf('timeouts.md')
  const { options: server } = serveHttp(() => undefined)
  const { options: peer } = new HttpPeer(undefined)
  const all: Record<string, unknown> = { ...peer, ...server }
  for (const name of Object.keys(all).filter((key) => key.endsWith('TimeoutMs'))) {
    expect(Number.parseInt(table.get(name) ?? '', 10), name).toBe(all[name])
  }
})

test('pooling.md names the connector’s pool options', () => {
  for (const name of tableOf('pooling.md').keys())
    expect(() => new Connector({ [name]: 1 }), name).not.toThrow()
})
