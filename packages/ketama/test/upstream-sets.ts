import type { Bucket } from '../src/index.ts'

/** Upstream sets to compare with nginx. Loopback only, nobody needs to listen there. */
export const upstreamSets: Readonly<Record<string, readonly Bucket[]>> = {
  plain: range(10).map((index) => ({ address: `127.77.0.${index + 1}:3` })),
  'one host, many ports': range(25).map((index) => ({ address: `127.77.1.1:${index + 2}` })),
  weights: range(12).map((index) => ({ address: `127.77.2.${index + 1}:3`, weight: (index % 4) * 7 + 1 })),
  'default port': [
    { address: '127.77.3.1' },
    { address: '127.77.3.2', weight: 3 },
    { address: '127.77.3.3:80' },
  ],
  'unix sockets': range(6).map((index) => ({
    address: `unix:/nonexistent/ketama/${index}.sock`,
    weight: index + 1,
  })),
  ipv6: [
    { address: '[::1]:3' },
    { address: '[::1]:4', weight: 2 },
    { address: '127.77.4.1:3', weight: 2 },
    { address: '[::1]' },
    { address: '[0:0:0:0:0:0:0:1]:5' },
  ],
  // 160,000 points in a space of 2^32 give about three equal hashes, and their order matters.
  'heavy, with ties': range(10).map((index) => ({ address: `127.77.5.${index + 1}:3`, weight: 100 })),
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
