import { unlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseAddress } from '../address.ts'
import type { Logger } from '../logger.ts'
import type { ThreadPool } from '../threads/thread-pool.ts'
import { pingUpgrade, type UpgradeState } from '../upgrade/protocol.ts'
import { type Urgency, waitFor } from './server-urgency.ts'
import type { ExportedListener, InheritedListener, Service } from './service.ts'

/** Most that services may export to a successor, together, in characters of JSON. */
export const UPGRADE_STATE_CHARACTERS_MAX: number = 8_388_608

/** A server that has handed over stays at least this long, so that its successor has its files in place, in ms. */
const LINGER_MIN_MS: number = 1000

/**
 * The listeners of all services, and what they have to say.
 *
 * @throws {Error} If a worker thread does not give back a listener.
 */
export async function collectHandOver(
  services: readonly Service[],
  generation: number,
  logger: Logger,
): Promise<{ listeners: ExportedListener[]; state: UpgradeState }> {
  await Promise.all(services.map((service) => service.recallListeners?.()))
  const listeners = services.flatMap((service) => [...(service.exportListeners?.() ?? [])])
  const exported: [string, unknown][] = []
  let characters = 0
  for (const service of services) {
    try {
      const state = service.exportState?.()
      const text = state === undefined ? undefined : JSON.stringify(state)
      if (text === undefined) continue
      if (characters + text.length > UPGRADE_STATE_CHARACTERS_MAX) {
        throw new RangeError(
          `Services may export ${UPGRADE_STATE_CHARACTERS_MAX} characters of JSON together`,
        )
      }
      characters += text.length
      exported.push([service.name, state])
    } catch (error) {
      logger.error('Service failed to export its state', { service: service.name, error })
    }
  }
  return { listeners, state: { generation, services: Object.fromEntries(exported) } }
}

/** Gives each service what its namesake exported. */
export function importStates(services: readonly Service[], state: UpgradeState, logger: Logger): void {
  for (const service of services) {
    if (!Object.hasOwn(state.services, service.name)) continue
    try {
      service.importState?.(state.services[service.name])
    } catch (error) {
      logger.error('Service failed to import its state', { service: service.name, error })
    }
  }
}

/** Closes the listeners of all services. Resolves when no connection is left, in no thread. */
export async function releaseListeners(
  services: readonly Service[],
  pool: ThreadPool | undefined,
  logger: Logger,
): Promise<void> {
  await Promise.all(
    services.map(async (service, index) => {
      try {
        // The first closes, and at once; then nothing more comes to the workers.
        await Promise.all([service.releaseListeners?.(), pool?.command(index, 'release')])
      } catch (error) {
        logger.error('Service failed to release its listeners', { service: service.name, error })
      }
    }),
  )
}

/**
 * The time after a hand-over in which idle clients may ask once more. It ends early when no connection is left, but
 * not at once; and under systemd not at all, which takes a main process that ends before the next one has
 * introduced itself for the end of the service.
 */
export async function lingerAfterHandOver(
  released: Promise<void>,
  urgency: Urgency,
  closeTimeoutMs: number,
): Promise<void> {
  const isUnderSystemd =
    process.env['INVOCATION_ID'] !== undefined || process.env['NOTIFY_SOCKET'] !== undefined
  const leastMs = isUnderSystemd ? closeTimeoutMs : Math.min(closeTimeoutMs, LINGER_MIN_MS)
  const done = Promise.all([released, delay(leastMs, undefined, { ref: false })])
  await waitFor(done, urgency.reached(1), closeTimeoutMs)
}

/** Listeners that the new configuration does not have: their socket files would stay for good. */
export function removeSurplusFiles(surplus: readonly InheritedListener[], logger: Logger): void {
  for (const { key, isForeign } of surplus) {
    logger.info('A listener of the old server is closed', { address: key })
    if (isForeign || !key.startsWith('unix:')) continue
    try {
      const address = parseAddress(key)
      if (address.kind === 'unix') unlinkSync(address.path)
    } catch {
      // Gone already, or no longer ours to remove.
    }
  }
}

/** Refuses to start beside a server that would lose its `upgrade_sock` to this one. */
export async function assertNobodyServes(path: string): Promise<void> {
  const running = await pingUpgrade(path)
  if (running === undefined || (running !== 'silent' && running.draining)) return
  const who = running === 'silent' ? 'A server' : `The server ${running.pid}`
  throw new Error(`${who} answers at ${path}: take over from it with --upgrade, or stop it first`)
}
