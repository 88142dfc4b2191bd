import { inspect } from 'node:util'
import { PHASES } from '../phases.ts'

/**
 * Checks that what an application calls like a hook is one: under another spelling it would never be called, and
 * nothing would say so.
 *
 * @throws {TypeError} For a hook that is no method, and for a method that is nearly one.
 */
export function checkHooks(app: object): void {
  if (typeof app !== 'object' || app === null) return
  for (const { name } of PHASES) {
    const hook: unknown = Reflect.get(app, name)
    if (hook === undefined || typeof hook === 'function') continue
    throw new TypeError(`The hook ${name} must be a method, received ${inspect(hook)}`)
  }
  const seen = new Set<string>()
  for (let level: object = app; level !== null && level !== Object.prototype; ) {
    for (const name of Object.getOwnPropertyNames(level)) seen.add(name)
    level = Object.getPrototypeOf(level) as object
  }
  for (const name of seen) {
    const meant = HOOKS_BY_LETTERS.get(lettersOf(name))
    if (meant === undefined || meant === name || name.startsWith('_')) continue // `_logging` is somebody's own
    throw new TypeError(`A proxy has no hook "${name}"; did you mean "${meant}"?`)
  }
}

function lettersOf(name: string): string {
  return name.replaceAll('_', '').toLowerCase()
}

const HOOKS_BY_LETTERS: ReadonlyMap<string, string> = new Map(
  PHASES.map(({ name }) => [lettersOf(name), name]),
)
