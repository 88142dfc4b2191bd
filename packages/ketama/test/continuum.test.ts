import { crc32 as zlibCrc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { crc32, crc32Word } from '../src/crc32.ts'
import { type Bucket, buildContinuum, Continuum } from '../src/index.ts'
import { hashInput } from '../src/server-name.ts'

const keys = Array.from({ length: 20_000 }, (_, index) => `/key/${index}`)

function servers(count: number): Bucket[] {
  return Array.from({ length: count }, (_, index) => ({ address: `10.0.${index >> 8}.${index & 255}:80` }))
}

const bucketLists = fc.uniqueArray(
  fc.record({ address: fc.ipV4().map((ip) => `${ip}:80`), weight: fc.integer({ min: 1, max: 5 }) }),
  { minLength: 2, maxLength: 12, selector: (bucket) => bucket.address },
)

describe('looking up', () => {
  test('an empty ring has no server', () => {
    const ring = new Continuum([])
    expect(ring.node('a')).toBeUndefined()
    expect(ring.nodeIndex('a')).toBeUndefined()
    expect(ring.pointIndex('a')).toBeUndefined()
    expect(ring.nodeIndexAt(0)).toBeUndefined()
    expect([...ring.nodes('a')]).toEqual([])
    expect(ring.pointCount).toBe(0)
  })

  test.each([7, null, undefined, true, ['a'], {}])('refuses %j as a key', (key) => {
    const ring = new Continuum(servers(3))
    for (const look of ['node', 'nodeIndex', 'pointIndex'] as const) {
      expect(() => ring[look](key as never)).toThrow(/^Key must be a string or a Uint8Array, received/)
    }
    expect(() => [...ring.nodes(key as never)]).toThrow(TypeError)
  })

  test('finds the first point at or after the hash and wraps at the end, for every position', () => {
    fc.assert(
      fc.property(bucketLists, fc.integer({ min: 0, max: 0xffff_ffff }), (buckets, hash) => {
        const ring = new Continuum(buckets, { pointsPerWeight: 3 })
        const points = buckets
          .flatMap(({ address, weight }, node) => {
            let point = 0
            return Array.from({ length: weight * 3 }, () => {
              point = crc32Word(zlibCrc32(hashInput(address, true)), point)
              return { point, node }
            })
          })
          .sort((a, b) => a.point - b.point || a.node - b.node)
          .filter(({ point }, index, all) => index === 0 || all[index - 1]?.point !== point)
        expect(ring.pointCount).toBe(points.length)
        for (const at of [hash, ...points.flatMap(({ point }) => [point - 1, point, point + 1])]) {
          const index = points.findIndex(({ point }) => point >= at >>> 0)
          const found = ring.pointIndexOfHash(at) as number
          expect(found).toBe(index === -1 ? 0 : index)
          expect(ring.nodeIndexAt(found)).toBe(points[found]?.node)
        }
      }),
      { numRuns: 50 },
    )
  })

  test('a string and its UTF-8 bytes are the same key', () => {
    const ring = new Continuum(servers(50))
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (key) => {
        expect(ring.nodeIndex(Buffer.from(key))).toBe(ring.nodeIndex(key))
      }),
    )
  })

  test('the CRC is that of zlib for text and bytes of every length', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 100 }),
          fc.string({ unit: 'binary' }),
          fc.uint8Array({ maxLength: 100 }),
        ),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        (key, word) => {
          expect(crc32(key)).toBe(zlibCrc32(key))
          const bytes = Buffer.alloc(4)
          bytes.writeUInt32LE(word)
          expect(crc32Word(zlibCrc32(key), word)).toBe(zlibCrc32(bytes, zlibCrc32(key)))
        },
      ),
    )
  })
})

describe('moving keys', () => {
  test('adding a server moves keys to it only', () => {
    fc.assert(
      fc.property(bucketLists, (buckets) => {
        const before = new Continuum(buckets.slice(0, -1))
        const after = new Continuum(buckets)
        const added = buckets.at(-1)?.address
        for (const key of keys.slice(0, 2_000)) {
          const node = after.node(key)
          if (node !== added) expect(node).toBe(before.node(key))
        }
      }),
      { numRuns: 30 },
    )
  })

  test('removing a server moves its keys only, each to its next server', () => {
    fc.assert(
      fc.property(bucketLists, fc.nat(), (buckets, pick) => {
        const removed = buckets[pick % buckets.length]?.address
        const before = new Continuum(buckets)
        const after = new Continuum(buckets.filter(({ address }) => address !== removed))
        for (const key of keys.slice(0, 2_000)) {
          expect(after.node(key)).toBe([...before.nodes(key)].find((address) => address !== removed))
        }
      }),
      { numRuns: 30 },
    )
  })

  test('keys spread by weight', () => {
    const buckets = servers(10).map((bucket, index) => ({ ...bucket, weight: (index % 3) + 1 }))
    const ring = new Continuum(buckets)
    const counts = new Map<number | undefined, number>()
    for (const key of keys) counts.set(ring.nodeIndex(key), (counts.get(ring.nodeIndex(key)) ?? 0) + 1)
    const total = buckets.reduce((sum, { weight }) => sum + weight, 0)
    for (const [index, { weight }] of buckets.entries()) {
      const share = (counts.get(index) ?? 0) / keys.length / (weight / total)
      expect(share).toBeGreaterThan(0.7)
      expect(share).toBeLessThan(1.3)
    }
  })
})

describe('going on to the next server', () => {
  const ring = new Continuum([7777, 7778, 7779].map((port) => ({ address: `127.0.0.1:${port}` })))

  test('each server comes once, the chosen one first', () => {
    expect([...ring.nodes('doghash')]).toEqual(['127.0.0.1:7778', '127.0.0.1:7779', '127.0.0.1:7777'])
    expect([...ring.nodeIndices('doghash')]).toEqual([1, 2, 0])
    for (const key of keys.slice(0, 500)) {
      expect(ring.nodes(key).next().value).toBe(ring.node(key))
      expect(new Set(ring.nodes(key)).size).toBe(3)
    }
  })

  test('with unique false servers repeat, and one turn of the ring ends it', () => {
    const ports = [...ring.nodes('doghash', { unique: false })].map((node) => Number(node.slice(-4)))
    expect(ports).toHaveLength(ring.pointCount)
    expect(ports.slice(0, 8)).toEqual([7778, 7779, 7779, 7777, 7777, 7778, 7778, 7779])
  })

  test('the walk by points is the same as the iterator', () => {
    let point = ring.pointIndex('doghash') as number
    for (const node of ring.nodeIndices('doghash', { unique: false })) {
      expect(ring.nodeIndexAt(point)).toBe(node)
      point = (point + 1) % ring.pointCount
    }
    expect(ring.nodeIndexAt(ring.pointCount)).toBeUndefined()
  })

  test('of a server listed twice the first keeps every point, and the iteration still ends', () => {
    const twice = new Continuum([{ address: 'a:1' }, { address: 'a:1', weight: 2 }, { address: 'b:1' }])
    expect(twice.pointCount).toBe(160 + 160 + 160)
    expect(new Set(twice.nodeIndices('x'))).toEqual(new Set([0, 1, 2]))
    const same = new Continuum([{ address: 'a:1' }, { address: 'a:1' }])
    expect([...same.nodeIndices('x')]).toEqual([0])
  })
})

describe('server names', () => {
  test.each([
    ['10.0.0.1:80', '10.0.0.1\u000080'],
    ['10.0.0.1', '10.0.0.1\u0000'],
    ['example.com:8080', 'example.com\u00008080'],
    ['example.com:', 'example.com\u0000'],
    ['[::1]:80', '[::1]\u000080'],
    ['[::1]', '[::1]\u0000'],
    ['unix:/run/a.sock', '/run/a.sock\u0000'],
    ['UNIX:/run/a:80', '/run/a:80\u0000'],
    ['a:b', 'a:b\u0000'],
  ])('%s is hashed as host, NUL, port', (address, input) => {
    expect(hashInput(address, true)).toBe(input)
  })

  test('without brackets as pingora-ketama', () => {
    expect(hashInput('[::1]:80', false)).toBe('::1\u000080')
    expect(hashInput('[::1]', false)).toBe('::1\u0000')
    expect(hashInput('10.0.0.1:80', false)).toBe('10.0.0.1\u000080')
  })
})

describe('building', () => {
  test('in slices gives the same ring', async () => {
    const buckets = servers(300).map((bucket, index) => ({ ...bucket, weight: (index % 5) + 1 }))
    const atOnce = new Continuum(buckets)
    const sliced = await buildContinuum(buckets)
    expect(sliced.addresses).toEqual(atOnce.addresses)
    expect(sliced.byteLength).toBe(atOnce.byteLength)
    for (let point = 0; point < atOnce.pointCount; point++) {
      if (sliced.nodeIndexAt(point) !== atOnce.nodeIndexAt(point)) expect.fail(`differs at ${point}`)
    }
    for (const key of keys) if (sliced.node(key) !== atOnce.node(key)) expect.fail(`differs for ${key}`)
  })

  test('of 10,000 servers lets the event loop run between', async () => {
    let turns = 0
    let running = true
    const turn = () => {
      turns++
      if (running) setImmediate(turn)
    }
    setImmediate(turn)
    const buckets = servers(10_000)
    const building = buildContinuum(buckets)
    buckets.length = 0
    const ring = await building
    running = false
    expect(turns).toBeGreaterThan(5)
    expect(ring.addresses).toHaveLength(10_000)
    // Hash, server, directory: the arrays and nothing else.
    expect(ring.byteLength / ring.pointCount).toBeLessThanOrEqual(14)
  })

  test('an abort ends it with the reason', async () => {
    await expect(buildContinuum(servers(1), { signal: AbortSignal.abort('no') })).rejects.toBe('no')
    const controller = new AbortController()
    const building = buildContinuum(servers(10_000), { signal: controller.signal })
    controller.abort(new Error('changed again'))
    await expect(building).rejects.toThrow('changed again')
  })

  test('more than 65,536 servers fit', () => {
    const ring = new Continuum(
      Array.from({ length: 65_537 }, (_, index) => ({ address: `h${index}:1` })),
      { pointsPerWeight: 1 },
    )
    const owners = new Set<number | undefined>()
    for (let point = 0; point < ring.pointCount; point++) owners.add(ring.nodeIndexAt(point))
    expect(owners.has(65_536)).toBe(true)
  })

  test('the cap on points holds at n and refuses n + 1', async () => {
    expect(new Continuum(servers(2), { pointCountMax: 320 }).pointCount).toBe(320)
    expect(() => new Continuum(servers(3), { pointCountMax: 479 })).toThrow(
      new RangeError('Ring needs 480 points, more than pointCountMax 479'),
    )
    await expect(buildContinuum(servers(3), { pointCountMax: 479 })).rejects.toThrow(RangeError)
    expect(() => new Continuum([{ address: 'a', weight: 4_000_000_000 }])).toThrow(/pointCountMax 4194304/)
  })

  test.each([0, -1, 1.5, Number.NaN, 2 ** 32])('refuses a weight of %d', (weight) => {
    expect(() => new Continuum([{ address: 'a:1', weight }])).toThrow(
      new RangeError(`Weight of 'a:1' must be an integer from 1 to 4294967295, received ${weight}`),
    )
    expect(() => new Continuum([], { pointsPerWeight: weight })).toThrow(RangeError)
    expect(() => new Continuum([], { pointCountMax: weight })).toThrow(RangeError)
  })

  test('refuses an address that is no text', () => {
    expect(() => new Continuum([{ address: '' }])).toThrow(TypeError)
    // @ts-expect-error an address is text
    expect(() => new Continuum([{ address: 80 }])).toThrow('received 80')
    // @ts-expect-error a server is an object
    expect(() => new Continuum(['a:1'])).toThrow(TypeError)
  })

  test('the list of servers cannot be changed from outside', () => {
    const ring = new Continuum(servers(2))
    expect(Object.isFrozen(ring.addresses)).toBe(true)
    expectTypeOf(ring.addresses).toEqualTypeOf<readonly string[]>()
    expectTypeOf(ring.node).returns.toEqualTypeOf<string | undefined>()
  })
})
