import * as core from '@cirque/core'
import * as prelude from 'cirque'
import * as umbrellaCore from 'cirque/core'
import { expect, test } from 'vitest'

test('the prelude changes on purpose only', () => {
  expect(Object.keys(prelude).sort()).toMatchInlineSnapshot(`
    [
      "Backend",
      "Gcra",
      "HttpHealthCheck",
      "HttpPeer",
      "HttpProxy",
      "HttpSession",
      "Inflight",
      "ListeningService",
      "LoadBalancer",
      "ProxyError",
      "Rate",
      "ReadThroughCache",
      "RequestHeader",
      "ResponseHeader",
      "Server",
      "TcpHealthCheck",
      "backgroundService",
      "displayError",
      "httpProxyService",
      "isProxyError",
      "ketama",
      "leastRequests",
      "powerOfTwoChoices",
      "roundRobin",
      "serveHttp",
    ]
  `)
})

test('a path of the umbrella is the whole package', () => {
  expect(Object.keys(umbrellaCore).sort()).toEqual(Object.keys(core).sort())
})
