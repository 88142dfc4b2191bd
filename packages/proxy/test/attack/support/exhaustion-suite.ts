import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Attack } from './attack.ts'
import { AttackedProxy } from './attacked-proxy.ts'

/** For a machine that is busy with something else. */
const TIMEOUT_MS = 90_000
/** Short, and with room for what else runs on the machine: `npm run attack` is stricter. */
const SPAN = { count: 100, ms: 200, p99FloorMs: 150 }

/** The tests of a file that attacks a proxy in all the given ways, one after another. */
export function exhaustionSuite(attacks: Readonly<Record<string, Attack>>): void {
  let proxy: AttackedProxy
  beforeAll(async () => {
    proxy = await AttackedProxy.start()
  }, TIMEOUT_MS)
  afterAll(() => proxy[Symbol.asyncDispose]())

  test.each(Object.keys(attacks))(
    '%s: what it costs is bounded and given back, and fair clients are served in time',
    async (name) => {
      const { faults } = await proxy.meet(name, SPAN)
      expect(faults).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'nobody has to leave: timeouts end every one of them',
    async () => {
      const ending = Object.entries(attacks).filter(([, { endless }]) => !endless)
      expect(await proxy.outlive(ending.map(([name]) => name))).toEqual([])
    },
    TIMEOUT_MS,
  )
}
