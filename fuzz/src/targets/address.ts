import { isIP } from 'node:net'
import { parseAddress } from '@cirque/core'
import { isHostPort, parseHostPort } from '@cirque/http'
import fc from 'fast-check'
import { holds, orRefused, same } from '../check.ts'
import type { Target } from '../target.ts'

/** Addresses of listeners and peers, and authorities of requests. Text is UTF-8. */
export const target: Target = {
  name: 'address',
  seeds: [
    '127.0.0.1:80',
    '[::1]:443',
    '[fe80::1%eth0]:1',
    'unix:/run/a.sock',
    'Example.COM:65535',
    '[::ffff:1.2.3.4]:0',
  ],
  bytesMax: 600,
  inputs: fc
    .tuple(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6().map((ip) => `[${ip}]`),
        fc.domain(),
        fc.constantFrom('127.1', '0x7f', 'a_b', 'unix:/a', 'a.', '1.'),
      ),
      fc.constantFrom(':', '', '::', ':0'),
      fc.integer({ min: -1, max: 70_000 }),
    )
    .map((parts) => Buffer.from(parts.join(''))),
  run(input) {
    const text = input.toString()
    const address = orRefused(() => parseAddress(text, { allowPortZero: true }), TypeError)
    if (address !== undefined) {
      same('the text reads the same', parseAddress(address.text, { allowPortZero: true }), address)
      holds('it is frozen', Object.isFrozen(address))
      if (address.kind === 'tcp') {
        holds('the port is in range', address.port >= 0 && address.port <= 65_535)
        holds('the host has no odd character', /^[a-z0-9._-]+$|^[0-9a-f:.]+(?:%[\w.-]+)?$/.test(address.host))
        if (/^[\d.]+$/.test(address.host)) same('digits and dots are IPv4', isIP(address.host), 4)
        same(
          'port 0 is for listeners',
          orRefused(() => parseAddress(text), TypeError) === undefined,
          address.port === 0,
        )
      } else {
        holds(
          'the path is absolute and short',
          address.path.startsWith('/') && Buffer.byteLength(address.path) < 108,
        )
      }
    }
    checkAuthority(input.toString('latin1'))
  },
}

/** Of what is an authority for us, WHATWG URL makes the same host and port, where it takes it. */
function checkAuthority(text: string): void {
  const authority = parseHostPort(text)
  same('isHostPort says the same', isHostPort(text), authority !== undefined)
  if (authority === undefined) return
  const url = orRefused(() => new URL(`ws://${text}/`), TypeError)
  if (url === undefined) return
  same(
    'URL sees no credentials, path or query',
    [url.username, url.password, url.pathname, url.search, url.hash],
    ['', '', '/', '', ''],
  )
  same(
    'URL sees the same port',
    url.port === '' ? 80 : Number(url.port),
    authority.port < 0 ? 80 : authority.port,
  )
}
