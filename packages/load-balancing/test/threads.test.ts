import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

interface View {
  readonly thread: number
  readonly backends: readonly (readonly [string, number, unknown])[]
  readonly eligible: readonly string[]
  readonly events: readonly string[]
  readonly discoveries: number
}

test('backends and health are found in the main thread, and workers follow', async () => {
  const program = join(import.meta.dirname, 'programs/threaded-balancer.ts')
  const child = spawn(process.execPath, ['--conditions=@cirque/source', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  try {
    const [, view, control] = /ports (\d+) (\d+)/.exec(String(await once(child.stdout, 'data'))) ?? []
    /** What every worker says; connections of their own reach one after the other. */
    const workers = async (): Promise<View[]> => {
      const views = new Map<number, View>()
      while (views.size < 2) {
        const answer = await fetch(`http://127.0.0.1:${view}`, { headers: { Connection: 'close' } })
        const one = (await answer.json()) as View
        views.set(one.thread, one)
      }
      return [...views.values()]
    }
    const a = ['10.0.0.1:80', 2, { zone: 'a' }] as const
    const b = ['10.0.0.2:80', 2, { zone: 'a' }] as const
    const c = ['10.0.0.3:80', 2, { zone: 'a' }] as const
    for (const one of await workers()) {
      expect(one.backends).toEqual([a, b])
      expect(one.eligible).toEqual(['10.0.0.1:80', '10.0.0.2:80'])
      expect(one.discoveries).toBe(0)
    }
    const told = async (query: string) => {
      await fetch(`http://127.0.0.1:${control}/?${query}`)
      return await workers()
    }
    for (const one of await told('down=10.0.0.1:80')) {
      expect(one.eligible).toEqual(['10.0.0.2:80'])
      expect(one.events).toEqual(['updated', 'unhealthy'])
    }
    for (const one of await told('down=10.0.0.1:80&disable=1')) expect(one.eligible).toEqual([])
    for (const one of await told('found=10.0.0.2:80 10.0.0.3:80')) {
      expect(one.backends).toEqual([b, c])
      expect(one.eligible).toEqual(['10.0.0.2:80', '10.0.0.3:80'])
      expect(one.discoveries).toBe(0)
    }
  } finally {
    child.kill('SIGKILL')
    await ended
  }
})
