import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'
import { anchorsOf, linksOf } from '../markdown.ts'
import { filesUnder, root } from '../workspace.ts'

const repository = 'https://github.com/cirque-js/cirque'
const pages = filesUnder(root, '.md').filter((file) => !/[/\\]\.changeset[/\\]|CHANGELOG\.md$/.test(file))

test('linksOf sees links, images and definitions, and none in code', () => {
  const text = '[a](b.md) ![c](d.png "title") `[no](no.md)`\n```md\n[no](no.md)\n```\n[e]: f.md#g\n'
  expect(linksOf(text)).toEqual([
    { target: 'b.md', line: 1 },
    { target: 'd.png', line: 1 },
    { target: 'f.md#g', line: 5 },
  ])
})

test('anchorsOf follows the rules of GitHub', () => {
  const text = '# Who, `me`?\n## A_b - c\n## A_b - c\n```sh\n# not a heading\n```\n## [Link](x.md)\n'
  expect([...anchorsOf(text)]).toEqual(['who-me', 'a_b---c', 'a_b---c-1', 'link'])
})

/** What is wrong with a link, or `undefined`. Addresses elsewhere are not asked for: tests stay on this machine. */
function problem(page: string, target: string): string | undefined {
  const ours = new RegExp(`^${repository}/(?:blob|tree)/main/(.*)$`).exec(target)?.[1]
  if (ours === undefined && /^[a-z][a-z+.-]*:/i.test(target)) return undefined
  const [path = '', anchor = ''] = (ours ?? target).split('#')
  const base = ours === undefined ? dirname(page) : root
  const file = path === '' ? page : join(base, decodeURIComponent(path))
  if (!existsSync(file)) return `${relative(root, file)} does not exist`
  if (relative(root, file).startsWith('..')) return 'leaves the repository'
  if (anchor === '' || statSync(file).isDirectory() || !file.endsWith('.md')) return undefined
  return anchorsOf(readFileSync(file, 'utf8')).has(anchor) ? undefined : `no heading #${anchor}`
}

test('every link of every page leads somewhere', () => {
  const broken = pages.flatMap((page) =>
    linksOf(readFileSync(page, 'utf8')).flatMap(({ target, line }) => {
      const reason = problem(page, target)
      return reason === undefined ? [] : [`${relative(root, page)}:${line}: ${target}: ${reason}`]
    }),
  )
  expect(broken).toEqual([])
})

test('every page under docs/ is reachable from docs/README.md', () => {
  const seen = new Set<string>()
  const queue = [join(root, 'docs/README.md')]
  for (let page = queue.pop(); page !== undefined; page = queue.pop()) {
    if (seen.has(page) || !existsSync(page)) continue
    seen.add(page)
    for (const { target } of linksOf(readFileSync(page, 'utf8'))) {
      const path = target.split('#')[0] ?? ''
      if (path.endsWith('.md') && !/^[a-z]+:/i.test(path))
        queue.push(join(dirname(page), decodeURIComponent(path)))
    }
  }
  const lost = pages.filter((page) => relative(root, page).startsWith('docs') && !seen.has(page))
  expect(lost.map((page) => relative(root, page))).toEqual([])
})
