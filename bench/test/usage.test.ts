import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Child } from '../src/child.ts'
import { processTree, readUsage } from '../src/usage.ts'

const onLinux = process.platform === 'linux'

test.skipIf(!onLinux)('the CPU time of a busy child counts, that of an idle one hardly', async () => {
  // Both say that they are up; one then works for 200 ms of its own CPU time.
  const busy = `const end = () => process.cpuUsage().user > 400_000
    console.log('up'); process.stdin.once('data', () => { while (!end()); console.log('done') })`
  const worker = new Child('worker', [process.execPath, '--eval', busy])
  const idler = new Child('idler', [
    process.execPath,
    '--eval',
    "console.log('up'); setInterval(() => {}, 1000)",
  ])
  try {
    await Promise.all([worker.lines(1, 10_000), idler.lines(1, 10_000)])
    const before = [readUsage(worker.pid), readUsage(idler.pid)] as const
    worker.tell('go\n')
    await worker.lines(2, 15_000)
    const after = [readUsage(worker.pid), readUsage(idler.pid)] as const
    const spent = after.map(({ cpuMicros = 0 }, index) => cpuMicros - (before[index]?.cpuMicros ?? 0))
    expect(spent[0]).toBeGreaterThan(100_000)
    expect(spent[1]).toBeLessThan(spent[0] ?? 0)
    expect(after[0].residentBytes).toBeGreaterThan(10 * 1024 * 1024)
    expect(after[0].peakBytes).toBeGreaterThanOrEqual(after[0].residentBytes ?? 0)
  } finally {
    await Promise.all([worker.stop(), idler.stop()])
  }
})

test.skipIf(!onLinux)('children of children belong to the tree', async () => {
  const parent = new Child('parent', ['sh', '-c', 'sleep 60 & echo up; wait'])
  try {
    await parent.lines(1, 10_000)
    expect(processTree(parent.pid)).toHaveLength(2)
  } finally {
    for (const pid of processTree(parent.pid)) process.kill(pid)
    await parent.stop()
  }
})

test('a process that is gone has used nothing that we know of', () => {
  expect(readUsage(2 ** 22 + 1)).toEqual({
    cpuMicros: undefined,
    residentBytes: undefined,
    peakBytes: undefined,
  })
})

test('a child that never ends is ended, one that fails tells why', async () => {
  const endless = new Child('endless', [process.execPath, '--eval', 'setInterval(() => {}, 1000)'])
  await expect(endless.result(100)).rejects.toThrow('endless did not end within 100 ms')
  expect(endless.running).toBe(false)
  const failing = new Child('failing', [
    process.execPath,
    '--eval',
    "console.error('no luck'); process.exit(3)",
  ])
  await expect(failing.result(10_000)).rejects.toThrow(/failing ended with 3: no luck/)
  const absent = new Child('absent', ['no-such-program'])
  await expect(absent.lines(1, 10_000)).rejects.toThrow('absent said too little')
  await sleep(0)
  expect(absent.running).toBe(false)
})
