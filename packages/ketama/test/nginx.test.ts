import { expect, test } from 'vitest'
import { crc32, crc32Word } from '../src/crc32.ts'
import { type Bucket, Continuum } from '../src/index.ts'
import { hashInput } from '../src/server-name.ts'
import { hasIpv6, nginxVersion, startNginx, upstreamAddress } from './nginx.ts'
import { upstreamSets } from './upstream-sets.ts'

const KEY_COUNT = 100_000

const missing = nginxVersion() === null
if (missing) process.stderr.write('ketama: nginx is not installed, the comparison with it is skipped\n')

test.skipIf(missing)('100,000 keys go where a real nginx sends them', { timeout: 120_000 }, async () => {
  const sets = Object.entries(upstreamSets).filter(([name]) => name !== 'ipv6' || hasIpv6())
  await using nginx = await startNginx(sets.map(([, buckets]) => buckets))
  const keys = makeKeys(KEY_COUNT)
  const share = Math.ceil(KEY_COUNT / sets.length)
  let compared = 0
  for (const [set, [name, buckets]] of sets.entries()) {
    const ring = new Continuum(buckets)
    const part = keys.slice(set * share, (set + 1) * share)
    const chosen = await nginx.choose(set, part)
    const differing = part.flatMap((key, index) => {
      const ours = upstreamAddress(ring.node(key) as string)
      return normal(chosen[index] as string) === normal(ours) ? [] : [{ key, ours, nginx: chosen[index] }]
    })
    expect(differing.slice(0, 5), name).toEqual([])
    compared += chosen.length
  }
  expect(compared).toBe(KEY_COUNT)
})

// The order of equal hashes is the C library's qsort, which is stable in glibc and is not in musl.
const glibc = 'glibcVersionRuntime' in ((process.report.getReport() as { header: object }).header ?? {})

test.skipIf(missing || !glibc)(
  'of two servers with an equal hash nginx and we take the first',
  { timeout: 60_000 },
  async () => {
    const buckets = upstreamSets['heavy, with ties'] as readonly Bucket[]
    const sets = [buckets, buckets.toReversed()]
    await using nginx = await startNginx(sets)
    const ties = equalHashes(buckets)
    expect(ties.length).toBeGreaterThan(0)
    for (const [set, listed] of sets.entries()) {
      const ring = new Continuum(listed)
      for (const { hash, addresses } of ties) {
        const key = keyBelow(hash, ring)
        const first = listed.find(({ address }) => addresses.includes(address))?.address
        expect(ring.node(key)).toBe(first)
        expect(await nginx.choose(set, [Buffer.from(key)])).toEqual([first])
      }
    }
  },
)

/** The hashes that two servers of the list share. */
function equalHashes(buckets: readonly Bucket[]): { hash: number; addresses: string[] }[] {
  const owner = new Map<number, string>()
  const ties: { hash: number; addresses: string[] }[] = []
  for (const { address, weight = 1 } of buckets) {
    const base = crc32(hashInput(address, true))
    for (let point = 0, hash = 0; point < weight * 160; point++) {
      hash = crc32Word(base, hash)
      const other = owner.get(hash)
      if (other !== undefined && other !== address) ties.push({ hash, addresses: [other, address] })
      owner.set(hash, address)
    }
  }
  return ties
}

/** A key that falls on the point of that hash. */
function keyBelow(hash: number, ring: Continuum): string {
  const point = ring.pointIndexOfHash(hash)
  for (let index = 0; ; index++) if (ring.pointIndex(`${index}`) === point) return `${index}`
}

/** nginx prints the short form of an address it was given in the long one. */
function normal(address: string): string {
  return address.replace('[0:0:0:0:0:0:0:1]', '[::1]')
}

/** Paths, numbers, UTF-8 text and raw bytes, without the few bytes that end a query argument. */
function makeKeys(count: number): Buffer[] {
  let state = 0x2545f491
  const random = (below: number) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
  return Array.from({ length: count }, (_, index) => {
    if (index % 4 === 0) return Buffer.from(`/path/${index}/${random(1e9)}`)
    if (index % 4 === 1) return Buffer.from(`${index}`)
    if (index % 4 === 2) return Buffer.from(`schlüssel-${index}-日本-${random(1e6)}`)
    return Buffer.from(
      Array.from({ length: 1 + random(80) }, () => (random(2) ? 0x80 + random(0x7f) : 0x30 + random(10))),
    )
  })
}
