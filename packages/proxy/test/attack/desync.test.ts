import { HttpPeer } from '@cirque/core'
import { peerError } from '@cirque/error'
import { expect, test } from 'vitest'
import type { ProxyHttp } from '../../src/index.ts'
import { type RunningProxy, startProxy } from '../support/proxy.ts'
import { deadAddress } from '../support/upstream.ts'
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

/** The first attempt finds nobody, the second one loses a good connection: bodies are sent from their start again. */
const RETRIED = 'with two attempts that fail first'
const retried = (dead: string, origin: string): Partial<ProxyHttp> => ({
  upstreamPeer: ({ record }) => new HttpPeer(record.attempts.length === 1 ? dead : origin),
  connectedToUpstream({ record }) {
    if (record.attempts.length === 2)
      throw peerError('CONNECT_ERROR', 'upstream', 'Not this one', { retry: 'allowed' })
  },
})

test.each([...Object.keys(APPS), RETRIED])(
  '%s: the origin sees what clients plainly say, and each client its own responses',
  async (name) => {
    await using origin = await startTaggedOrigin()
    let logged = 0
    let attempts = 0
    const app = name === RETRIED ? retried(await deadAddress(), origin.address) : APPS[name]
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(origin.address),
        logging({ record }) {
          logged++
          attempts = Math.max(attempts, record.attempts.length)
        },
        ...app,
      },
      { retryBudget: false },
    )
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
    expect(attempts).toBe(name === RETRIED ? 3 : 1)
  },
  runTimeout(360),
)
