import { describe, expect, test } from 'vitest'
import { type HopByHopOptions, RequestHeader, removeHopByHop } from '../src/index.ts'

function left(fields: readonly (readonly [string, string])[], options?: HopByHopOptions): string[] {
  const header = RequestHeader.build('GET', '/', fields)
  removeHopByHop(header, options)
  return header.fields
}

describe('RFC 9110 §7.6.1: removeHopByHop', () => {
  test('removes the fields of one connection and leaves the rest in order', () => {
    expect(
      left([
        ['Host', 'a'],
        ['connection', 'keep-alive'],
        ['Keep-Alive', 'timeout=5'],
        ['X', 'y'],
        ['PROXY-CONNECTION', 'close'],
        ['TE', 'trailers'],
        ['Transfer-Encoding', 'chunked'],
        ['Upgrade', 'h2c'],
        ['HTTP2-Settings', 'AAMA'],
        ['Trailer', 'Z'],
        ['Proxy-Authorization', 'Basic eA=='],
      ]),
    ).toEqual(['Host', 'a', 'X', 'y', 'Trailer', 'Z', 'Proxy-Authorization', 'Basic eA=='])
  })

  test('removes what any Connection field lists, wherever it stands', () => {
    expect(
      left([
        ['X-Before', '1'],
        ['Connection', 'close, x-before , ,X-AFTER'],
        ['x-after', '2'],
        ['X-Kept', '3'],
        ['Connection', 'x-third'],
        ['X-Third', '4'],
      ]),
    ).toEqual(['X-Kept', '3'])
  })

  test.each([
    'Host',
    'Content-Length',
    'Authorization',
    'Cookie',
    'Cache-Control',
    'X-Forwarded-For',
    'X-Real-IP',
  ])('leaves %s although Connection lists it', (name) => {
    expect(
      left([
        [name, 'v'],
        ['Connection', `close, ${name.toLowerCase()}`],
      ]),
    ).toEqual([name, 'v'])
  })

  test('keepUpgrade leaves Upgrade and one Connection that says so', () => {
    expect(
      left(
        [
          ['Connection', 'keep-alive, Upgrade, X-Hop'],
          ['X-Hop', '1'],
          ['Upgrade', 'websocket'],
          ['Connection', 'x'],
        ],
        {
          keepUpgrade: true,
        },
      ),
    ).toEqual(['Connection', 'upgrade', 'Upgrade', 'websocket'])
    expect(
      left(
        [
          ['Connection', 'close'],
          ['Upgrade', 'websocket'],
        ],
        { keepUpgrade: true },
      ),
      'an upgrade that Connection does not list is none',
    ).toEqual([])
  })

  test('keepTrailersTe leaves TE: trailers alone', () => {
    const keep = { keepTrailersTe: true }
    expect(
      left(
        [
          ['TE', 'trailers, deflate;q=0.5'],
          ['Connection', 'TE'],
        ],
        keep,
      ),
    ).toEqual(['TE', 'trailers'])
    expect(left([['TE', 'deflate']], keep)).toEqual([])
    expect(left([['TE', 'xtrailers']], keep)).toEqual([])
    expect(left([['TE', 'trailers']])).toEqual([])
  })

  test('a header without such fields stays the same array content', () => {
    expect(
      left([
        ['Host', 'a'],
        ['Accept', '*/*'],
      ]),
    ).toEqual(['Host', 'a', 'Accept', '*/*'])
    expect(left([])).toEqual([])
  })
})
