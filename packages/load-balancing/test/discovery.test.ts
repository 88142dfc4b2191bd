import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type AddressRecord,
  DnsDiscovery,
  type DnsLookup,
  FileDiscovery,
  LoadBalancer,
  roundRobin,
  type ServiceRecord,
  SrvDiscovery,
} from '@cirque/load-balancing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const signal = new AbortController().signal

/** A lookup that answers from tables; a missing name has no records, an Error is thrown. */
function lookupOf(tables: {
  a?: Record<string, AddressRecord[] | Error>
  aaaa?: Record<string, AddressRecord[] | Error>
  srv?: Record<string, ServiceRecord[] | Error>
}): DnsLookup {
  const find = async <T>(table: Record<string, T[] | Error> | undefined, name: string): Promise<T[]> => {
    const found = table?.[name]
    if (found instanceof Error) throw found
    if (found === undefined) throw Object.assign(new Error(`query ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
    return found
  }
  return {
    resolve4: (host) => find(tables.a, host),
    resolve6: (host) => find(tables.aaaa, host),
    resolveSrv: (name) => find(tables.srv, name),
  }
}

const servfail = Object.assign(new Error('queryAaaa ESERVFAIL api'), { code: 'ESERVFAIL' })

describe('DnsDiscovery', () => {
  const addressesOf = async (tables: Parameters<typeof lookupOf>[0], options = {}) => {
    const discovery = new DnsDiscovery('api.internal:8080', { lookup: lookupOf(tables), ...options })
    const { backends, ttlMs } = await discovery.discover(signal)
    return { addresses: backends.map(String), ttlMs }
  }

  test('finds the addresses of both families, each once, and asks again when the shortest time is over', async () => {
    const found = await addressesOf({
      a: {
        'api.internal': [
          { address: '10.0.0.1', ttl: 60 },
          { address: '10.0.0.2', ttl: 30 },
          { address: '10.0.0.1', ttl: 60 },
        ],
      },
      aaaa: { 'api.internal': [{ address: '2001:db8::1', ttl: 90 }] },
    })
    expect(found).toEqual({
      addresses: ['10.0.0.1:8080', '10.0.0.2:8080', '[2001:db8::1]:8080'],
      ttlMs: 30_000,
    })
  })

  test('keeps the time to live within its bounds', async () => {
    const a = (ttl: number) => ({ a: { 'api.internal': [{ address: '10.0.0.1', ttl }] } })
    expect((await addressesOf(a(0))).ttlMs).toBe(1_000)
    expect((await addressesOf(a(100_000))).ttlMs).toBe(300_000)
    expect((await addressesOf(a(7), { ttlMinMs: 10_000 })).ttlMs).toBe(10_000)
    expect((await addressesOf(a(7), { ttlMaxMs: 5_000 })).ttlMs).toBe(5_000)
  })

  test('one family without records is fine; a look-up that fails, or none at all, is not', async () => {
    const a = { 'api.internal': [{ address: '10.0.0.1', ttl: 60 }] }
    expect((await addressesOf({ a })).addresses).toEqual(['10.0.0.1:8080'])
    await expect(addressesOf({ a, aaaa: { 'api.internal': servfail } })).rejects.toThrow('ESERVFAIL')
    await expect(addressesOf({})).rejects.toThrow('ENOTFOUND')
    await expect(addressesOf({ a: { 'api.internal': [] } })).rejects.toThrow()
    const only4 = { a, aaaa: { 'api.internal': servfail } }
    expect((await addressesOf(only4, { families: [4] })).addresses).toEqual(['10.0.0.1:8080'])
  })

  test('a failing name server leaves a balancer with its last good set', async () => {
    const tables: Parameters<typeof lookupOf>[0] = {
      a: { 'api.internal': [{ address: '10.0.0.1', ttl: 60 }] },
    }
    const balancer = new LoadBalancer(
      new DnsDiscovery('api.internal:80', { lookup: lookupOf(tables) }),
      roundRobin(),
    )
    await balancer.update()
    tables.a = { 'api.internal': servfail }
    await expect(balancer.update()).rejects.toThrow('ESERVFAIL')
    expect(balancer.select()?.address).toBe('10.0.0.1:80')
  })

  test('cancels its look-up on abort', async () => {
    let reject: (error: Error) => void = () => {}
    const pending = new Promise<never>((_resolve, rejectPending) => {
      reject = rejectPending
    })
    const lookup: DnsLookup = {
      resolve4: () => pending,
      resolve6: () => pending,
      resolveSrv: () => pending,
      cancel: () => reject(Object.assign(new Error('cancelled'), { code: 'ECANCELLED' })),
    }
    const controller = new AbortController()
    const found = new DnsDiscovery('api.internal:80', { lookup }).discover(controller.signal)
    controller.abort()
    await expect(found).rejects.toThrow('cancelled')
  })

  test('refuses wrong arguments', () => {
    for (const name of ['api', 'api:0', 'unix:/a', ''])
      expect(() => new DnsDiscovery(name)).toThrow(TypeError)
    expect(() => new DnsDiscovery('a:1', { families: [] })).toThrow(TypeError)
    expect(() => new DnsDiscovery('a:1', { families: [5 as never] })).toThrow(TypeError)
    expect(() => new DnsDiscovery('a:1', { ttlMinMs: 0 })).toThrow(RangeError)
    expect(() => new DnsDiscovery('a:1', { ttlMinMs: 10, ttlMaxMs: 9 })).toThrow(RangeError)
    expect(() => new DnsDiscovery('a:1', { ttl: 9 } as never)).toThrow(TypeError)
    expect(() => new DnsDiscovery('a:1', { lookup: {} as never })).toThrow(TypeError)
  })
})

describe('SrvDiscovery', () => {
  const name = '_http._tcp.api.internal'
  const srv = (target: string, port: number, priority: number, weight: number): ServiceRecord => ({
    name: target,
    port,
    priority,
    weight,
  })

  test('priorities become groups in order, weights stay, and zero counts as one', async () => {
    const lookup = lookupOf({
      srv: { [name]: [srv('a', 1, 20, 5), srv('b', 2, 10, 0), srv('c', 3, 20, 7)] },
      a: {
        a: [{ address: '10.0.0.1', ttl: 60 }],
        b: [{ address: '10.0.0.2', ttl: 60 }],
        c: [
          { address: '10.0.0.3', ttl: 12 },
          { address: '10.0.0.4', ttl: 60 },
        ],
      },
    })
    const { backends, ttlMs } = await new SrvDiscovery(name, { lookup }).discover(signal)
    expect(
      backends.map(
        (backend) => typeof backend === 'object' && [backend.address, backend.priority, backend.weight],
      ),
    ).toEqual([
      ['10.0.0.1:1', 1, 5],
      ['10.0.0.2:2', 0, 1],
      ['10.0.0.3:3', 1, 7],
      ['10.0.0.4:3', 1, 7],
    ])
    expect(ttlMs).toBe(12_000)
  })

  test('a target without addresses is left out; one that cannot be asked for spoils the answer', async () => {
    const services = { [name]: [srv('a', 1, 0, 1), srv('gone', 1, 0, 1)] }
    const a = { a: [{ address: '10.0.0.1', ttl: 60 }] }
    const found = await new SrvDiscovery(name, { lookup: lookupOf({ srv: services, a }) }).discover(signal)
    expect(found.backends.map(String)).toEqual(['10.0.0.1:1'])
    expect(found.ttlMs).toBe(30_000)
    const failing = lookupOf({ srv: services, a: { ...a, gone: servfail } })
    await expect(new SrvDiscovery(name, { lookup: failing }).discover(signal)).rejects.toThrow('ESERVFAIL')
  })

  test('a target that is listed twice counts in its better group', async () => {
    const lookup = lookupOf({
      srv: { [name]: [srv('a', 1, 9, 1), srv('also-a', 1, 3, 1)] },
      a: { a: [{ address: '10.0.0.1', ttl: 60 }], 'also-a': [{ address: '10.0.0.1', ttl: 60 }] },
    })
    const { backends } = await new SrvDiscovery(name, { lookup }).discover(signal)
    expect(backends).toMatchObject([{ address: '10.0.0.1:1', priority: 0 }])
  })

  test('a service that is not offered, or has no targets, is an error', async () => {
    for (const records of [[], [srv('.', 0, 0, 0)], [srv('', 0, 0, 0)], [srv('gone', 1, 0, 1)]]) {
      const lookup = lookupOf({ srv: { [name]: records } })
      await expect(new SrvDiscovery(name, { lookup }).discover(signal)).rejects.toThrow()
    }
    const many = Array.from({ length: 1_025 }, (_, index) => srv(`t${index}`, 1, 0, 1))
    const lookup = lookupOf({ srv: { [name]: many } })
    await expect(new SrvDiscovery(name, { lookup }).discover(signal)).rejects.toThrow(RangeError)
    expect(() => new SrvDiscovery('')).toThrow(TypeError)
    expect(() => new SrvDiscovery(name, { refreshMs: 0 })).toThrow(RangeError)
  })
})

describe('FileDiscovery', () => {
  let folder: string
  let path: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cirque-'))
    path = join(folder, 'backends')
  })
  afterEach(() => rm(folder, { recursive: true }))
  const read = async (text: string, options = {}) => {
    await writeFile(path, text)
    return new FileDiscovery(path, options).discover(signal)
  }

  test('reads lines with options and comments', async () => {
    const { backends, disabled } = await read(
      '# primaries\n10.0.0.1:80 weight=3\r\n\n  10.0.0.2:80   enabled=false # broken disk\n[::1]:80 priority=1 inFlightMax=5',
    )
    expect(backends).toMatchObject([
      { address: '10.0.0.1:80', weight: 3, priority: 0 },
      { address: '10.0.0.2:80', weight: 1 },
      { address: '[::1]:80', priority: 1, inFlightMax: 5 },
    ])
    expect(disabled).toEqual(['10.0.0.2:80'])
  })

  test('reads a line of comments in comments at once', async () => {
    const begun = performance.now()
    expect((await read(`10.0.0.1:80 ${' #'.repeat(100_000)}\r`)).backends).toMatchObject([
      { address: '10.0.0.1:80' },
    ])
    expect(performance.now() - begun).toBeLessThan(2_000)
  })

  test('reads JSON with everything a backend has', async () => {
    const metadata = { zone: 'a' }
    const { backends, disabled } = await read(
      JSON.stringify([
        '10.0.0.1:80',
        { address: 'unix:/a.sock', weight: 2, metadata, peerOptions: { tls: true }, enabled: false },
      ]),
    )
    expect(backends).toMatchObject([
      { address: '10.0.0.1:80' },
      { address: 'unix:/a.sock', weight: 2, metadata, peerOptions: { tls: true } },
    ])
    expect(disabled).toEqual(['unix:/a.sock'])
  })

  test.each([
    ['10.0.0.1:80\n10.0.0.2', /line 2/],
    ['10.0.0.1:80 weight=0', /weight.*line 1/],
    ['10.0.0.1:80 wieght=1', /wieght=1.*line 1/],
    ['10.0.0.1:80 weight=1 weight=2', /twice.*line 1/],
    ['10.0.0.1:80 enabled=no', /enabled.*line 1/],
    ['10.0.0.1:80 address=10.0.0.2:80', /line 1/],
    ['["10.0.0.1:80", 5]', /entry 2/],
    ['[{"address":"10.0.0.1:80","color":"red"}]', /Unknown option 'color'.*entry 1/],
    ['[{"address":"10.0.0.1:80","__proto__":{"weight":9}}]', /entry 1/],
    ['{"backends":[]}', /not a JSON array/],
    ['["10.0.0.1:80"', /not valid JSON/],
    ['', /lists no backends/],
    ['# nothing\n', /lists no backends/],
    ['[]', /lists no backends/],
  ])('refuses %j and says where', async (text, message) => {
    await expect(read(text)).rejects.toThrow(message)
  })

  test('takes an empty file when told to, and refuses one that is too large', async () => {
    expect((await read('', { allowEmpty: true })).backends).toEqual([])
    expect((await read('a:1', { fileBytesMax: 3 })).backends).toHaveLength(1)
    await expect(read('a:11', { fileBytesMax: 3 })).rejects.toThrow(/4 bytes, more than fileBytesMax 3/)
    await expect(new FileDiscovery(join(folder, 'missing')).discover(signal)).rejects.toThrow('ENOENT')
    expect(() => new FileDiscovery('')).toThrow(TypeError)
    expect(() => new FileDiscovery(path, { pollMs: 0 })).toThrow(RangeError)
    expect(() => new FileDiscovery(path, { poll: 1 } as never)).toThrow(TypeError)
  })

  test('a balancer follows the file: rewritten, renamed into place, behind a swapped link', async () => {
    await writeFile(path, 'a:1')
    const link = join(folder, 'link')
    await symlink(path, link)
    const balancer = new LoadBalancer(new FileDiscovery(link, { pollMs: 20 }), roundRobin())
    const controller = new AbortController()
    const ready = Promise.withResolvers<void>()
    const ended = balancer.start(controller.signal, ready.resolve)
    await ready.promise
    const updated = () =>
      new Promise<string>((resolve) => {
        const unsubscribe = balancer.subscribe(({ type }) => {
          if (type !== 'updated') return
          unsubscribe()
          resolve(balancer.backends.join())
        })
      })
    let next = updated()
    await writeFile(path, 'b:1 weight=2')
    expect(await next).toBe('b:1')
    next = updated()
    await writeFile(`${path}.new`, 'c:1\nd:1')
    await rename(`${path}.new`, path)
    expect(await next).toBe('c:1,d:1')
    next = updated()
    await writeFile(join(folder, 'other'), 'e:1')
    await symlink(join(folder, 'other'), `${link}.new`)
    await rename(`${link}.new`, link)
    expect(await next).toBe('e:1')
    const failed = new Promise((resolve) => {
      balancer.subscribe((event) => event.type === 'update-failed' && resolve(event.error))
    })
    await writeFile(join(folder, 'other'), 'nonsense')
    expect(String(await failed)).toMatch(/line 1/)
    expect(balancer.backends.join()).toBe('e:1')
    controller.abort()
    await ended
  })
})
