import { expect, test } from 'vitest'
import { runReadmeSnippets } from '../../../scripts/readme-snippet.ts'

test('the README’s snippet runs and prints what it says', async () => {
  const [snippet] = await runReadmeSnippets(new URL('../README.md', import.meta.url))
  expect(snippet).toMatchObject({ exitCode: 0, stderr: '' })
  expect(snippet?.stdout.split('\n')).toEqual([
    'unhealthy',
    'true',
    'load-balancer: 1 of 2 backends eligible (round-robin); out: 127.0.0.1:1 unhealthy',
    '',
  ])
})
