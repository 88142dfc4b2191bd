import { setImmediate as turn } from 'node:timers/promises'
import type { ProxyHttp } from '../../../src/index.ts'

const wait = () => turn(undefined)
/** Ways in which an app may meet a request, from nothing to everything. */
export const APPS: Record<string, Partial<ProxyHttp>> = {
  'as it comes': {},
  'with fields edited and bodies filtered': {
    upstreamRequestFilter: (_session, request) => request.insertHeader('X-Seen', 'yes'),
    requestBodyFilter: () => undefined,
    responseFilter: (_session, response) => response.insertHeader('X-Seen', 'yes'),
    responseBodyFilter: () => undefined,
  },
  'with hooks that wait': {
    requestFilter: wait,
    connectedToUpstream: wait,
    upstreamRequestFilter: wait,
    requestBodyFilter: wait,
    responseFilter: wait,
    responseBodyFilter: wait,
  },
  'with bodies read ahead': {
    async requestFilter(session) {
      await session.bufferRequestBody({ maxBytes: 5_000, overflow: 'stream' })
    },
  },
}
