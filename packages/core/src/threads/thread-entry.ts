import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Service } from '../server/service.ts'
import { resolveThreads, type ThreadCount } from './thread-count.ts'

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
