import { HEAD_FAILED, NEED_MORE, RequestHeader, RequestHeadParser, removeHopByHop } from '@cirque/http'
import { holds, same } from '../check.ts'
import { bytesOf, requestHead } from '../http-grammar.ts'
import type { Target } from '../target.ts'

const NAMES = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])
const parser = new RequestHeadParser()

/**
 * Removal of hop-by-hop fields has two ways, one of which cuts the lines as they were received: both come to the same,
 * and nothing of one hop is left.
 */
export const target: Target = {
  name: 'hop-by-hop',
  seeds: [
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: y\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\nUpgrade: a\r\n\r\n',
  ],
  inputs: bytesOf(requestHead),
  run(input) {
    parser.reset()
    const after = parser.execute(input, 0, input.length)
    if (after === NEED_MORE || after === HEAD_FAILED) return
    const hopByHop = parser.hopByHop
    const received = parser.takeHeader()
    const before = received.clone().fields.slice()
    for (const keepUpgrade of [false, true]) {
      for (const keepTrailersTe of [false, true]) {
        const cut = received.clone()
        const walked = new RequestHeader(received.method, received.target, received.version, before.slice())
        removeHopByHop(cut, { keepUpgrade, keepTrailersTe })
        removeHopByHop(walked, { keepUpgrade, keepTrailersTe })
        same('both ways leave the same fields', cut.fields, walked.fields)
        if (keepUpgrade || keepTrailersTe) continue
        for (const [name] of cut) holds(`no hop-by-hop field is left`, !NAMES.has(name.toLowerCase()))
        const removed = before.length - cut.fields.length
        if (!hopByHop) same('without hop-by-hop fields nothing goes', removed, 0)
        const again = cut.clone()
        removeHopByHop(again)
        same('done twice is done once', again.fields, cut.fields)
      }
    }
  },
}
