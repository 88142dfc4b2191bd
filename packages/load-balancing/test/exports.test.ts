import * as loadBalancing from '@cirque/load-balancing'
import { expect, test } from 'vitest'

test('the package exports these names and no others', () => {
  expect(Object.keys(loadBalancing).sort()).toMatchInlineSnapshot(`
    [
      "Backend",
      "DnsDiscovery",
      "FileDiscovery",
      "HttpHealthCheck",
      "LISTENERS_MAX",
      "LoadBalancer",
      "RetryBudget",
      "SrvDiscovery",
      "StaticDiscovery",
      "StickySessions",
      "TcpHealthCheck",
      "WEIGHT_MAX",
      "boundedLoad",
      "fnvHash",
      "ketama",
      "leastRequests",
      "maglev",
      "peakEwma",
      "powerOfTwoChoices",
      "random",
      "rendezvous",
      "roundRobin",
    ]
  `)
})
