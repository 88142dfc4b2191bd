import { HttpPeer, type HttpPeerOptions } from '@cirque/core'
import { expect, test } from 'vitest'
import { CERTIFICATE, CERTIFICATE_FILES } from '../support/certificate.ts'
import { type RunningProxy, startProxy } from '../support/proxy.ts'
import { APPS } from './support/apps.ts'
import { checkOrigin, nothingLeft } from './support/checks.ts'
import { Dice, runCount, runTimeout } from './support/dice.ts'
import { checkClient, play, type Story } from './support/h1-client.ts'
import { checkH2Client, checkH2Origin, type H2Story, playH2 } from './support/h2-client.ts'
import { startTaggedH2Origin } from './support/h2-origin.ts'
import { expectNoProcessFaults } from './support/process-faults.ts'
import { startTaggedOrigin } from './support/tagged-origin.ts'

expectNoProcessFaults()

/** Connections of one arrangement. */
const CONNECTIONS = runCount(150)
const AT_ONCE = 8

interface Arrangement {
  readonly client: 1 | 2
  readonly origin: 1 | 2
  /** Which sides speak TLS. */
  readonly tls?: 'both' | 'origin'
  readonly app?: string
}

const ARRANGEMENTS: Record<string, Arrangement> = {
  'h2 to h1': { client: 2, origin: 1 },
  'h2 to h1, with hooks that wait': { client: 2, origin: 1, app: 'with hooks that wait' },
  'h2 to h1, with bodies read ahead': { client: 2, origin: 1, app: 'with bodies read ahead' },
  'h1 to h2': { client: 1, origin: 2 },
  'h1 to h2, with fields edited and bodies filtered': {
    client: 1,
    origin: 2,
    app: 'with fields edited and bodies filtered',
  },
  'h2 to h2': { client: 2, origin: 2 },
  'h2 to h2, with hooks that wait': { client: 2, origin: 2, app: 'with hooks that wait' },
  'h1 to h1 over TLS': { client: 1, origin: 1, tls: 'both' },
  'h1 to h2 over TLS': { client: 1, origin: 2, tls: 'both' },
  'h2 to h1 over TLS': { client: 2, origin: 1, tls: 'both' },
  'h2 to h2 over TLS': { client: 2, origin: 2, tls: 'both' },
}

test.each(Object.entries(ARRANGEMENTS))(
  '%s: the origin sees what clients plainly say, and each client its own responses',
  async (_name, { client, origin: version, tls, app = 'as it comes' }) => {
    const secure = tls !== undefined
    await using origin = await (version === 1 ? startTaggedOrigin(secure) : startTaggedH2Origin(secure))
    const options: HttpPeerOptions = {
      ...(version === 2 ? { httpVersion: 2 } : {}),
      ...(secure ? { tls: true, sni: 'localhost', ca: CERTIFICATE.cert } : {}),
    }
    let logged = 0
    await using proxy = await startProxy(
      {
        upstreamPeer: () => new HttpPeer(origin.address, options),
        logging: () => void logged++,
        ...APPS[app],
      },
      { server: { h2c: client === 2 && !secure, http2ResetBurstMax: 10_000 } },
      tls === 'both' ? CERTIFICATE_FILES : undefined,
    )
    const stories: Story[] = []
    const h2Stories: H2Story[] = []
    let next = 0
    const worker = async () => {
      while (next < CONNECTIONS) {
        const seed = next++
        const dice = new Dice(seed)
        if (client === 1) {
          const story = await play(proxy.port, dice, `c${seed}`, {
            onlyWebSockets: version === 2,
            tls: tls === 'both',
          })
          checkClient(story)
          stories.push(story)
        } else {
          const story = await playH2(proxy.port, dice, `c${seed}`, {
            tls: tls === 'both',
            tunnels: true,
          })
          checkH2Client(story, version, secure)
          h2Stories.push(story)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await nothingLeft(proxy as RunningProxy<unknown>, () => logged)
    if (client === 1) await checkOrigin(origin, stories)
    else await checkH2Origin(origin, h2Stories, version)
    expect(origin.tunnels.size).toBeGreaterThan(0)
    expect(stories.length + h2Stories.length).toBe(CONNECTIONS)
  },
  runTimeout(150),
)
