// Nanoseconds of CPU per block, to decode and to encode, beside the HPACK packages of npm.

import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { HpackDecoder, HpackEncoder } from '@cirque/hpack'
import { huffmanBytes, huffmanEncode } from '../src/huffman-encode.ts'
import { latin1Write } from '../src/latin1.ts'
import { apiResponse, browserRequest, SMALL_RESPONSE } from './lists.ts'

/** Rounds that count, after as many in which V8 makes up its mind. */
const ROUNDS = 7
const ROUND_MS = 60
/** Distinct lists of a case that never repeats. */
const SERIALS = 512

interface Implementation {
  readonly name: string
  decoder(): (block: Buffer) => unknown
  encoder(): (fields: readonly string[]) => unknown
}

/** A package without types. */
// biome-ignore lint/suspicious/noExplicitAny: what it exports is its own affair.
type Loaded = any

const require = createRequire(import.meta.url)

const into: Buffer = Buffer.alloc(16_384)
const cirque: Implementation = {
  name: '@cirque/hpack',
  decoder() {
    const decoder = new HpackDecoder()
    return (block) => {
      const list = decoder.decode(block, 0, block.length)
      if (list === null) throw new Error(`Not decoded: ${decoder.failure}`)
      return list
    }
  },
  encoder() {
    const encoder = new HpackEncoder()
    return (fields) => encoder.encode(fields, into, 0)
  },
}
const implementations: Implementation[] = [cirque]

const hpackJs: Loaded = require('hpack.js')
implementations.push({
  name: 'hpack.js',
  decoder() {
    const decompressor = hpackJs.decompressor.create({ table: { size: 4096 } })
    return (block) => {
      decompressor.write(block)
      decompressor.execute()
      const list = []
      for (let field = decompressor.read(); field; field = decompressor.read()) list.push(field)
      return list
    }
  },
  encoder() {
    const compressor = hpackJs.compressor.create({ table: { size: 4096 } })
    return (fields) => {
      compressor.write(pairs(fields).map(([name, value]) => ({ name, value })))
      return compressor.read()
    }
  },
})

function pairs(fields: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let index = 0; index < fields.length; index += 2) {
    list.push([fields[index] as string, fields[index + 1] as string])
  }
  return list
}

/** What browsers and servers do not put into the table, as it is another value each time. */
const CHANGING: ReadonlySet<string> = new Set([':path', 'content-length', 'etag', 'x-request-id'])

/**
 * Blocks of one connection by a third hand, hpack.js: all in Huffman code, and all indexed that does not change; or
 * nothing at all, as nginx and HAProxy write them.
 */
function blocksOf(lists: readonly (readonly string[])[], indexing = true): Buffer[] {
  const compressor = hpackJs.compressor.create({ table: { size: 4096 } })
  return lists.map((fields) => {
    compressor.write(
      pairs(fields).map(([name, value]) => ({ name, value, incremental: indexing && !CHANGING.has(name) })),
    )
    return compressor.read()
  })
}

const serials = Array.from({ length: SERIALS }, (_, serial) => serial)
const pageRequests = serials.map((serial) => browserRequest(`/products/${serial * 7919}/reviews?page=2`))
const apiResponses = serials.map(apiResponse)

interface Case {
  readonly title: string
  readonly lists: readonly (readonly string[])[]
  /** Whether each list goes to a new connection; otherwise all have been sent before. */
  readonly fresh?: boolean
  /** Whether the blocks to decode make use of the table; true by default. */
  readonly indexing?: boolean
}

const cases: Case[] = [
  { title: 'browser request, first of a connection', lists: pageRequests, fresh: true },
  { title: 'browser request, another path', lists: pageRequests },
  { title: 'browser request, repeated', lists: [browserRequest('/')] },
  { title: 'API response, first of a connection', lists: apiResponses, fresh: true },
  { title: 'API response, another one', lists: apiResponses },
  { title: 'small response, repeated', lists: [SMALL_RESPONSE] },
]
const literals: Case = {
  title: 'small response by nginx, repeated',
  lists: [SMALL_RESPONSE],
  indexing: false,
}

/** The median of the rounds that count, in ns per call. */
function measure(rounds: (() => number)[]): number {
  const results = rounds
    .map((round) => round())
    .slice(ROUNDS)
    .sort((a, b) => a - b)
  return results[results.length >> 1] as number
}

/** Time of the CPU and not of the clock, with that of the garbage collector: the machine may have other things to do. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}

function round(call: (index: number) => unknown): () => number {
  return () => {
    let calls = 0
    const start = cpuNs()
    let elapsed = 0
    while (elapsed < ROUND_MS * 1e6) {
      for (let index = 0; index < SERIALS; index++) call(index)
      calls += SERIALS
      elapsed = cpuNs() - start
    }
    return elapsed / calls
  }
}

function decodeRound(implementation: Implementation, { lists, fresh, indexing }: Case): () => number {
  if (fresh) {
    const blocks = lists.map((list) => blocksOf([list])[0] as Buffer)
    return round((index) => implementation.decoder()(blocks[index % blocks.length] as Buffer))
  }
  const blocks = blocksOf([...lists, ...lists], indexing)
  const decode = implementation.decoder()
  for (const block of blocks.splice(0, lists.length)) decode(block)
  // Those of the second half add nothing, so that they can be decoded again and again.
  return round((index) => decode(blocks[index % blocks.length] as Buffer))
}

function encodeRound(implementation: Implementation, { lists, fresh }: Case): () => number {
  if (fresh) return round((index) => implementation.encoder()(lists[index % lists.length] as string[]))
  const encode = implementation.encoder()
  for (const list of lists) encode(list)
  return round((index) => encode(lists[index % lists.length] as string[]))
}

function printEach(title: string, roundOf: (implementation: Implementation) => () => number): void {
  print(
    title,
    implementations.map((each) => measure(Array.from({ length: 2 * ROUNDS }, () => roundOf(each)))),
  )
}

function print(title: string, results: readonly number[]): void {
  console.log(`${title.padEnd(48)}${results.map((ns) => `${ns.toFixed(0)} ns`.padStart(15)).join('')}`)
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; median of ${ROUNDS} rounds, ns of CPU per block`)
console.log(`${''.padEnd(48)}${implementations.map(({ name }) => name.padStart(15)).join('')}`)
for (const item of [...cases, literals]) {
  printEach(`decode: ${item.title}`, (each) => decodeRound(each, item))
}
for (const item of cases) printEach(`encode: ${item.title}`, (each) => encodeRound(each, item))

// Whether Huffman code pays for a text that is written with each message.
for (const length of [10, 27, 64, 256]) {
  const text = '/products/7919/reviews?page=2&order=Newest_First'.repeat(6).slice(0, length)
  const plain = measure(Array.from({ length: 2 * ROUNDS }, () => round(() => latin1Write(text, into, 0))))
  const coded = measure(
    Array.from({ length: 2 * ROUNDS }, () => round(() => huffmanBytes(text) + huffmanEncode(text, into, 0))),
  )
  const saved = length - huffmanBytes(text)
  console.log(
    `${length} octets: ${plain.toFixed(0)} ns; ${coded.toFixed(0)} ns in Huffman code, ${saved} bytes less`,
  )
}
