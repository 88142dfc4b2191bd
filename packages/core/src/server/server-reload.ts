import { isDeepStrictEqual } from 'node:util'
import { loadConfiguration } from '../configuration/configuration.ts'
import { CONFIGURATION_KEYS } from '../configuration/configuration-keys.ts'
import type { ServerConfiguration } from '../configuration/server-configuration.ts'
import type { Logger } from '../logger.ts'
import type { ThreadPool } from '../threads/thread-pool.ts'
import type { ServerLog } from './server-log.ts'
import type { ServiceNode } from './service-graph.ts'

/** The keys, as files spell them, whose values differ: all of them are read at start only. */
function changedKeys(current: ServerConfiguration, next: ServerConfiguration): string[] {
  return CONFIGURATION_KEYS.filter(({ name }) => !isDeepStrictEqual(current[name], next[name])).map(
    ({ fileName }) => fileName,
  )
}

/** What {@link reloadServer} reads again. */
export interface ReloadOptions {
  readonly logger: Logger
  /** The configuration file, if there is one. */
  readonly conf: string | undefined
  readonly configuration: ServerConfiguration
  /** What the file is laid over. */
  readonly base: ServerConfiguration
  readonly nodes: readonly ServiceNode[]
  readonly pool: ThreadPool | undefined
  readonly log: ServerLog
}

/** Checks the configuration file, and has every service reload, in every thread. What fails is logged. */
export async function reloadServer(options: ReloadOptions): Promise<void> {
  const { logger, conf, configuration, base, nodes, pool, log } = options
  await log.reopen() // whatever the configuration's mistakes: they would go to a file that nobody looks at
  if (conf !== undefined) {
    try {
      const fixed = changedKeys(configuration, loadConfiguration(conf, base))
      if (fixed.length > 0) logger.warn('Changed settings need an upgrade or a restart', { keys: fixed })
    } catch (error) {
      logger.error('Nothing was reloaded: the configuration has mistakes', { error })
      return
    }
  }
  for (const [index, { service }] of nodes.entries()) {
    if (service.reload === undefined) continue
    try {
      await Promise.all([service.reload(), pool?.command(index, 'reload')])
    } catch (error) {
      logger.error('Service failed to reload', { service: service.name, error })
    }
  }
  logger.info('Reloaded')
}
