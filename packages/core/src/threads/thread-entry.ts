import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { inspect } from 'node:util'
import type { Service } from '../server/service.ts'

/** What `threads` says in a configuration or a service: a number, or one per processor. */
export type ThreadCount = number | 'auto'

/** Most threads of a server: one per processor is enough, and each takes 14 MiB. */
export const THREADS_MAX: number = 256

/** @throws {RangeError} If it is neither `'auto'` nor a whole number from 1 to {@link THREADS_MAX}. */
export function checkThreads(threads: unknown): ThreadCount {
  if (threads === 'auto') return threads
  if (Number.isSafeInteger(threads) && (threads as number) >= 1 && (threads as number) <= THREADS_MAX) {
    return threads as number
  }
  throw new RangeError(
    `Expected threads to be "auto" or a whole number from 1 to ${THREADS_MAX}, received ${inspect(threads)}`,
  )
}

/** The number of threads that `threads` stands for. */
export function resolveThreads(threads: ThreadCount): number {
  return threads === 'auto' ? Math.min(availableParallelism(), THREADS_MAX) : threads
}

/** Workers that serve a service: none if the main thread does. */
export function workersOf(service: Service, threads: ThreadCount): number {
  if (service.startInWorker === undefined) return 0
  const count = resolveThreads(service.threads ?? threads)
  return count > 1 ? count : 0
}

/**
 * The module that workers load: the one that was given, or the program's own script.
 *
 * @throws {Error} If there is none, as in a REPL.
 */
export function threadEntry(given: string | URL | undefined): string | URL {
  if (given !== undefined) return given
  const script = process.argv[1]
  if (script === undefined) {
    throw new Error('Worker threads need a module to load: run a script file, or give the option "entry"')
  }
  if (existsSync(script)) return realpathSync(script)
  return createRequire(`${process.cwd()}/`).resolve(script) // "node main" for main.js
}
