import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until } from '../../support/waiting.ts'
import type { Wish } from './tagged-origin.ts'

/** A tunnel as the origin had it. */
export interface TunnelRecord {
  /** What came out of it. */
  readonly received: string
  /** The client's end came, in order. */
  readonly ended: boolean
}

/** One side of a tunnel, over whatever it goes. */
export interface TunnelSide {
  write(text: string): void
  end(): void
  reset(): void
}

/**
 * What an origin does in a tunnel, by the wish of its request, with the text that it has to say: `early` ends its side
 * first, `later` takes its time, and all but `early` wait for the client's end. Some reset it halfway.
 */
export async function serveTunnel(
  side: TunnelSide,
  wish: Wish,
  text: string,
  clientEnded: Promise<void>,
): Promise<void> {
  const half = text.length >> 1
  side.write(text.slice(0, half))
  if (wish.when === 'later' || wish.resets) await sleep(wish.id.length % 4)
  if (wish.resets) {
    side.reset()
    return
  }
  side.write(text.slice(half))
  if (wish.when !== 'early') await clientEnded
  side.end()
}

/** What one client did with a tunnel that it asked for. */
export interface TunnelStory {
  readonly wish: Wish
  /** All that it sent into it, in order. */
  readonly sent: string
  /** Nobody cut it: all of that has to arrive, and then the end. */
  readonly whole: boolean
}

/** Each tunnel carried what its own client sent into it: all of that, and the end, if nobody cut it. */
export async function checkTunnels(
  tunnels: ReadonlyMap<string, TunnelRecord>,
  stories: readonly TunnelStory[],
): Promise<void> {
  const left = new Set(tunnels.keys())
  for (const { wish, sent, whole } of stories) {
    const record = tunnels.get(wish.id)
    left.delete(wish.id)
    if (record === undefined) continue
    const story = () => `the tunnel of ${wish.id} carried ${JSON.stringify(record.received.slice(-300))}`
    if (!whole || wish.resets) {
      expect(sent.startsWith(record.received), story()).toBe(true)
      continue
    }
    // The proxy has done with it; the origin may still have to read.
    await until(() => record.ended, `${wish.id}: the end of its tunnel does not come`)
    expect(record.received === sent, story()).toBe(true)
  }
  expect([...left], 'tunnels that nobody asked for').toEqual([])
}
