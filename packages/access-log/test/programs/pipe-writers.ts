// Three threads that write to one standard output, faster than it is read.
import { isMainThread, threadId, Worker } from 'node:worker_threads'
import { fileDestination } from '../../src/index.ts'

const LINES = 1_500

if (isMainThread) for (let count = 0; count < 3; count++) new Worker(new URL(import.meta.url))
else {
  const destination = fileDestination(1, { flushIntervalMs: 0 })
  for (let index = 0; index < LINES; index++) {
    destination.write(`${threadId} ${index} ${String(threadId).repeat(index % 700)}.`)
    if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await destination.close()
}
