import { isIP } from 'node:net'
import { isFieldValue, RequestHeader } from '@cirque/http'
import type { Session } from '@cirque/proxy'
import fc from 'fast-check'
import { Forwarding } from '../../../packages/proxy/src/forwarding.ts'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const TRUSTED = ['10.0.0.0/8', '192.0.2.1', '::1', 'fd00::/8']
const REMOTES = [
  '10.1.2.3',
  '::ffff:10.1.2.3',
  '203.0.113.9',
  '::1',
  'fd00::7',
  '2001:db8::9',
  'fe80::1%eth0',
]
const forwarding = new Forwarding({
  xForwarded: true,
  forwarded: true,
  via: 'cirque',
  requestId: 'X-Request-Id',
  trustedProxies: TRUSTED,
})

/** Each line is a field; the first byte of the input says whose connection it is. */
export const target: Target = {
  name: 'forwarded',
  seeds: [
    '\x00X-Forwarded-For: 203.0.113.1, 10.0.0.9\nForwarded: for="[2001:db8::1]:80";host="a\\"b"',
    '\x03X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 10.0.0.2 , ::ffff:10.0.0.3\nForwarded: for="open',
    '\x02X_Forwarded_For: 1\nx-real-ip: 1\nX-Request-Id: a\nVia: 1.0 b',
  ],
  words: [
    'X-Forwarded-For: ',
    'Forwarded: ',
    'X_Real_IP: ',
    '10.0.0.1',
    '::1',
    'fd00::1',
    ', ',
    'for=',
    '"',
    '\\',
    'Host: ',
  ],
  inputs: fc
    .tuple(
      fc.nat(REMOTES.length - 1),
      fc.array(
        fc.tuple(
          fc.constantFrom(
            'X-Forwarded-For',
            'Forwarded',
            'X-Forwarded-Proto',
            'X_Forwarded-For',
            'X-Request-Id',
          ),
          fc.array(
            fc.constantFrom(
              '10.0.0.1',
              '1.2.3.4',
              '::1',
              ',',
              ', ',
              ' ',
              'for=',
              '"',
              '\\',
              ';',
              'unknown',
              'a',
            ),
            { maxLength: 6 },
          ),
        ),
        { maxLength: 4 },
      ),
    )
    .map(([remote, fields]) =>
      Buffer.from(
        String.fromCharCode(remote) + fields.map(([name, value]) => `${name}: ${value.join('')}`).join('\n'),
      ),
    ),
  run(input) {
    const remote = REMOTES[(input[0] ?? 0) % REMOTES.length] as string
    const fields = ['Host', 'a.example']
    for (const line of input.toString('latin1', 1).split('\n')) {
      const [, name, value] = /^([\w-]+): *(.*?) *$/.exec(line) ?? []
      if (name === undefined || value === undefined || !isFieldValue(value)) continue
      if (name.toLowerCase() !== 'host') fields.push(name, value)
    }
    const request = new RequestHeader('GET', '/', 'HTTP/1.1', fields)
    const session = {
      request,
      remoteAddress: remote,
      requestId: undefined,
      digest: () => ({ remoteAddress: remote, tls: undefined }),
    } as unknown as Session
    const client = forwarding.clientAddress(session)
    same('the client is the nearest that nobody vouches against', client, nearest(remote, request))
    const sent = request.clone()
    forwarding.apply(sent, session)
    checkSent(sent, request, plain(remote))
  },
}

function checkSent(sent: RequestHeader, request: RequestHeader, remote: string): void {
  const chain = sent.getAll('x-forwarded-for')
  same('there is one chain', chain.length, 1)
  same('it ends with who is connected', chain[0]?.split(', ').at(-1), remote)
  const elements = sent.getAll('forwarded')
  same('there is one Forwarded', elements.length, 1)
  const last = forwardedElements(elements[0] as string)?.at(-1)
  const node = remote.includes(':') ? `[${remote}]` : remote
  same('its last element is ours', last, { for: node, proto: 'http', host: 'a.example' })
  same('there is one id', sent.getAll('x-request-id').length, 1)
  sent.forEachField((name) => {
    const isClaim = /^x[-_]forwarded[-_]|^x[-_]real[-_]ip$/i.test(name)
    holds(`none with an underscore: ${name}`, !isClaim || !name.includes('_'))
  })
  if (isTrusted(remote)) return
  same('of others only what we say is sent', chain[0], remote)
  same('also in Forwarded', forwardedElements(elements[0] as string)?.length, 1)
  sent.forEachField((name, value) => {
    const known = /^(x-forwarded-(for|proto|host)|forwarded)$/i.test(name)
    const claims = /^(x[-_]forwarded[-_]|x[-_]real[-_]ip$|forwarded$)/i.test(name)
    holds(`no claim gets through: ${name}`, known || !claims || !request.getAll(name).includes(value))
  })
}

function nearest(remote: string, request: RequestHeader): string {
  const chain = request.getAll('x-forwarded-for').flatMap((value) => value.split(','))
  let address = plain(remote)
  for (const earlier of chain.toReversed().map((text) => text.trim())) {
    if (!isTrusted(address) || isIP(earlier) === 0) break
    address = earlier
  }
  return address
}

function plain(address: string): string {
  return address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/, '')
}

/** The same ranges, by their bits. */
function isTrusted(address: string): boolean {
  const text = plain(address)
  if (isIP(text) === 4) return text.startsWith('10.') || text === '192.0.2.1'
  const host = new URL(`ws://[${text}]/`).hostname
  // The same address as in IPv4, in any spelling.
  if (/^\[::ffff:a[0-9a-f]{2}:|^\[::ffff:c000:201\]/.test(host)) return true
  return host === '[::1]' || /^\[fd[0-9a-f]{2}:/.test(host)
}

/** RFC 7239 §4; undefined for what is no such list. */
function forwardedElements(text: string): Record<string, string>[] | undefined {
  const elements: Record<string, string>[] = [{}]
  const pair =
    /([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z:[\]-]+)|"((?:[^"\\]|\\.)*)")|[;, \t]/gy
  for (let at = 0; at < text.length; at = pair.lastIndex) {
    pair.lastIndex = at
    const match = pair.exec(text)
    if (match === null) return undefined
    if (match[0] === ',') elements.push({})
    else if (match[1] !== undefined) {
      const element = elements.at(-1) as Record<string, string>
      element[match[1].toLowerCase()] = match[2] ?? (match[3] as string).replace(/\\(.)/g, '$1')
    }
  }
  return elements.filter((element) => Object.keys(element).length > 0)
}
