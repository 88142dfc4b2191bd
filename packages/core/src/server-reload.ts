import { isDeepStrictEqual } from 'node:util'
import type { ServerConfiguration } from './configuration.ts'
import { CONFIGURATION_KEYS } from './configuration-keys.ts'

/** The keys, as files spell them, whose values differ: all of them are read at start only. */
export function changedKeys(current: ServerConfiguration, next: ServerConfiguration): string[] {
  return CONFIGURATION_KEYS.filter(({ name }) => !isDeepStrictEqual(current[name], next[name])).map(
    ({ fileName }) => fileName,
  )
}
