// What building an error costs with and without its stack, at the depth of a real call.
// Run: node --conditions=@cirque/source packages/error/bench/error.bench.ts
import { cpus } from 'node:os'
import { displayError, ProxyError, peerError, withContext } from '@cirque/error'

const ROUNDS = 5
const CALL_DEPTH = 20

let kept: unknown

const cases: [name: string, run: () => unknown, count: number][] = [
  ['new ProxyError, with a stack', () => new ProxyError('READ_ERROR', 'upstream', 'Lost'), 50_000],
  ['peerError, without', () => peerError('READ_ERROR', 'upstream', 'Lost'), 200_000],
  ['withContext', () => withContext(error, 'attempt 2'), 200_000],
  ['displayError, two links', () => displayError(wrapped), 50_000],
]
const error: ProxyError = peerError('READ_ERROR', 'upstream', 'Lost')
const wrapped: ProxyError = withContext(error, 'attempt 2')

/** Calls `run` from `depth` frames down: a stack costs by its depth. */
function atDepth(depth: number, run: () => void): void {
  if (depth === 0) run()
  else atDepth(depth - 1, run)
}

function nsPerCall(run: () => unknown, count: number): number {
  const start = performance.now()
  atDepth(CALL_DEPTH, () => {
    for (let index = 0; index < count; index++) kept = run()
  })
  return ((performance.now() - start) * 1e6) / count
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; ns per call, best and worst of ${ROUNDS}`)
for (const [name, run, count] of cases) {
  nsPerCall(run, count)
  const rounds = Array.from({ length: ROUNDS }, () => nsPerCall(run, count)).sort((a, b) => a - b)
  console.log(
    `${name.padEnd(32)} ${rounds[0]?.toFixed(0).padStart(6)} ${rounds.at(-1)?.toFixed(0).padStart(6)}`,
  )
}
if (kept === undefined) throw new Error('Nothing was built')
