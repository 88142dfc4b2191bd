import { LoadBalancer, roundRobin, StickySessions } from '@cirque/load-balancing'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const NOW = 1_800_000_000_000
const secret = 'a secret of the fuzzer'
const sticky = new StickySessions({ secrets: [secret], now: () => NOW })
const balancer = LoadBalancer.fromAddresses(['127.0.0.1:1', '127.0.0.1:2'], roundRobin())
const [first, second] = balancer.backends
const good = first === undefined ? '' : sticky.tokenFor(first)
const old = new StickySessions({ secrets: [secret], now: () => NOW - 50_000_000 }).tokenFor(second as never)
const foreign = new StickySessions({ secrets: ['another secret, longer'], now: () => NOW }).tokenFor(
  second as never,
)

/** Cookies of sticky sessions: a forged, torn or foreign token is none, and never an error. */
export const target: Target = {
  name: 'sticky',
  seeds: [
    `a=b; cirque_backend=${good}`,
    `cirque_backend=${old}`,
    `cirque_backend=${foreign}; cirque_backend=${good}`,
  ],
  words: [good, old, foreign, 'cirque_backend=', 'v1.', '; '],
  inputs: fc
    .array(fc.constantFrom('cirque_backend', '=', ';', ' ', 'a', good, old, foreign, 'v1.', '\t'), {
      maxLength: 8,
    })
    .map((parts) => Buffer.from(parts.join(''))),
  run(input) {
    const cookie = input.toString('latin1')
    const token = sticky.tokenFromCookie(cookie)
    if (token !== undefined) holds('a token stands in the cookies', cookie.includes(token))
    const choice = sticky.select(balancer, token)
    holds('somebody serves', choice !== undefined && balancer.backends.includes(choice.backend))
    if (token === good) same('a good token is kept', [choice?.backend, choice?.token], [first, undefined])
    // The last character of base64url holds bits that mean nothing, so two spellings of one token may be good.
    else if (choice?.token === undefined) holds('no other token is taken', sameBytes(token ?? '', good))
    if (choice?.token !== undefined)
      same(
        'a new token is read again',
        sticky.tokenFromCookie(sticky.cookie(choice.token).split(';')[0]),
        choice.token,
      )
  },
}

function sameBytes(a: string, b: string): boolean {
  return Buffer.from(a.slice(3), 'base64url').equals(Buffer.from(b.slice(3), 'base64url'))
}
