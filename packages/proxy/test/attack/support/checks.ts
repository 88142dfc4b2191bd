import { expect } from 'vitest'
import type { RunningProxy } from '../../support/proxy.ts'
import { until } from '../../support/waiting.ts'
import { isOf, type Story } from './h1-client.ts'
import { readResponses } from './readers.ts'
import { type TaggedOrigin, wishOf } from './tagged-origin.ts'
import { checkTunnels } from './tunnels.ts'

/** The origin has seen what was plainly said, once, in order, and nothing else. */
export async function checkOrigin(origin: TaggedOrigin, stories: readonly Story[]): Promise<void> {
  expect(origin.violations).toEqual([])
  const seen = new Map(
    origin.readers.flatMap(({ seen: requests }) => requests.map((one) => [wishOf(one.target).id, one])),
  )
  expect(seen.size).toBe(origin.readers.reduce((sum, reader) => sum + reader.seen.length, 0))
  for (const { shots, client, gone } of stories) {
    const { responses } = readResponses(
      client.received,
      shots.map(({ method }) => method),
      client.ended,
    )
    let dead = false
    shots.forEach((shot, index) => {
      const request = seen.get(shot.id)
      seen.delete(shot.id)
      const story = `${JSON.stringify(shot.head)} arrived as ${JSON.stringify(request?.method)} ${request?.body.slice(0, 200)}`
      if (dead || shot.kind === 'bad-head') expect(request, story).toBeUndefined()
      if (request !== undefined) {
        expect(request.method, story).toBe(shot.method)
        if (request.complete) {
          expect(shot.kind, story).not.toBe('bad-body')
          expect(request.body, story).toBe(shot.body)
        } else expect(shot.body.startsWith(request.body), story).toBe(true)
      } else if (index < responses.length) expect(isOf(responses[index], shot.id), story).toBe(false)
      if (!gone && shot.kind === 'good' && responses[index]?.complete === true) {
        const early = wishOf(request?.target ?? '').when === 'early'
        if (!early) expect(request?.complete, story).toBe(true)
      }
      dead ||= shot.last
    })
  }
  expect([...seen.keys()]).toEqual([])
  await checkTunnels(
    origin.tunnels,
    stories.flatMap(({ tunnel }) => tunnel ?? []),
  )
}

export async function nothingLeft(proxy: RunningProxy<unknown>, logged: () => number): Promise<void> {
  await proxy.idle()
  await until(() => proxy.proxy.serverApp.stats().connections === 0, 'a connection of a client stays open')
  expect(logged()).toBe(proxy.proxy.stats().requests)
  const { open, idle } = proxy.proxy.connector.stats()
  expect(open).toBe(idle)
}
