import { expect, test } from 'vitest'
import { ExampleProcess } from '../../../scripts/test-support/example-process.ts'
import { request } from '../../../scripts/test-support/http-request.ts'

const argv = ['--ba', '127.0.0.1:0', '--admin', '127.0.0.1:0']

test.each([1, 2])(
  'with %i threads, visits are counted together and a headline reaches all',
  async (threads) => {
    await using program = new ExampleProcess('shared-state', [...argv, '--threads', String(threads)])
    const board = await program.address('board')
    const admin = await program.address('admin')
    expect((await request(board, '/')).body).toMatch(/^No news; visit 1, thread \d\n$/)
    await request(board, '/', { method: 'PUT', body: 'Rain' })
    const bodies: string[] = []
    for (let count = 0; count < 8; count += 1) bodies.push((await request(board, '/')).body)
    for (const [index, body] of bodies.entries())
      expect(body).toMatch(new RegExp(`^Rain; visit ${index + 3}, `))
    expect(new Set(bodies.map((body) => body.split('thread ')[1])).size).toBe(threads)
    const report = JSON.parse((await request(admin, '/')).body) as {
      visits: number
      perThread: Record<string, number>
    }
    expect(report.visits).toBe(10)
    const perThread = Object.values(report.perThread)
    expect(perThread).toHaveLength(threads === 1 ? 0 : threads)
    if (threads > 1) expect(perThread.reduce((sum, visits) => sum + visits, 0)).toBe(10)
    expect((await program.stop()).status).toBe(0)
  },
)
