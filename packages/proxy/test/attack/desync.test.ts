import { HttpPeer } from '@cirque/core'
import { test } from 'vitest'
import { type RunningProxy, startProxy } from '../support/proxy.ts'
import { APPS } from './support/apps.ts'
import { checkOrigin, nothingLeft } from './support/checks.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { checkClient, play, type Story } from './support/h1-client.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { startTaggedOrigin } from './support/tagged-origin.ts'

expectNoProcessFaults()

/** Connections of one app, each with up to six requests. */
const CONNECTIONS = runCount(360)
const AT_ONCE = 12

test.each(Object.keys(APPS))(
  '%s: the origin sees what clients plainly say, and each client its own responses',
  async (name) => {
    await using origin = await startTaggedOrigin()
    let logged = 0
    await using proxy = await startProxy({
      upstreamPeer: () => new HttpPeer(origin.address),
      logging: () => void logged++,
      ...APPS[name],
    })
    const stories: Story[] = []
    let next = 0
    const worker = async () => {
      while (next < CONNECTIONS) {
        const seed = next++
        const story = await play(proxy.port, new Dice(seed), `c${seed}`)
        checkClient(story)
        stories.push(story)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await nothingLeft(proxy as RunningProxy<unknown>, () => logged)
    await checkOrigin(origin, stories)
  },
  runTimeout(360),
)
