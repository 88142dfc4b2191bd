import { expect, test } from 'vitest'
import * as streamProxy from '../src/index.ts'

test('exports', () => {
  expect(Object.keys(streamProxy).sort()).toMatchInlineSnapshot(`
    [
      "CLIENT_HELLO_BYTES_MAX_DEFAULT",
      "SNI_ROUTES_MAX",
      "StreamPeer",
      "peekClientHello",
      "readClientHello",
      "sniRouter",
      "tcpProxyService",
      "udpProxyService",
    ]
  `)
})
