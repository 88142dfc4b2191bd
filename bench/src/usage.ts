import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** What a process and its descendants have used so far. */
export interface Usage {
  /** CPU time of all threads, in microseconds; `undefined` where /proc does not tell. */
  cpuMicros: number | undefined
  /** Resident memory now, in bytes. */
  residentBytes: number | undefined
  /** Highest resident memory since the start or the last `resetPeak`, in bytes. */
  peakBytes: number | undefined
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The fields of /proc/<pid>/stat from the third on: the second, a name in brackets, may hold anything. */
function statFields(pid: number): string[] | undefined {
  const stat = read(`/proc/${pid}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** A process and all its descendants; empty when it is gone or there is no /proc. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>()
  let entries: string[] = []
  try {
    entries = readdirSync('/proc')
  } catch {
    return []
  }
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue
    const parent = statFields(Number(entry))?.[1]
    if (parent !== undefined) parents.set(Number(entry), Number(parent))
  }
  const tree = parents.has(root) ? [root] : []
  for (let index = 0; index < tree.length; index += 1) {
    for (const [pid, parent] of parents) if (parent === tree[index]) tree.push(pid)
  }
  return tree
}

/** Nanoseconds on a CPU of each thread that lives: finer than the clock ticks of `stat`, and exact. */
function threadNanos(pid: number): number | undefined {
  let sum = 0
  let tasks: string[] = []
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch {
    return undefined
  }
  for (const task of tasks) {
    const nanos = Number(read(`/proc/${pid}/task/${task}/schedstat`)?.split(' ')[0])
    if (Number.isNaN(nanos)) return undefined
    sum += nanos
  }
  // A kernel without scheduler statistics has the file, full of zeros.
  return sum === 0 ? undefined : sum
}

/** User and system time in ticks of 10 ms, the resolution that every Linux has. */
function tickNanos(pid: number): number | undefined {
  const fields = statFields(pid)
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) * 10_000_000
}

function kibibytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
}

/** Reads what the process `root` and its descendants have used. */
export function readUsage(root: number): Usage {
  const tree = processTree(root)
  if (tree.length === 0) return { cpuMicros: undefined, residentBytes: undefined, peakBytes: undefined }
  const usage = { cpuMicros: 0, residentBytes: 0, peakBytes: 0 }
  for (const pid of tree) {
    usage.cpuMicros += (threadNanos(pid) ?? tickNanos(pid) ?? 0) / 1_000
    const status = read(`/proc/${pid}/status`) ?? ''
    usage.residentBytes += kibibytes(status, 'VmRSS')
    usage.peakBytes += kibibytes(status, 'VmHWM')
  }
  return usage
}

/** Lets the peak start from now; without the right to do so it stays that of the process's life. */
export function resetPeak(root: number): void {
  for (const pid of processTree(root)) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, '5')
    } catch {
      // The report says "since start" for all proxies alike then.
    }
  }
}
