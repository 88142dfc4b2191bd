// Nanoseconds per block, to decode and to encode, beside the HPACK packages of npm.

import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { HpackDecoder, HpackEncoder } from '@cirque/hpack'
import { apiResponse, browserRequest, SMALL_RESPONSE } from './lists.ts'

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
    const into = Buffer.alloc(16_384)
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

/** Blocks of one connection, as our encoder writes them. */
function blocksOf(encoder: HpackEncoder, lists: readonly (readonly string[])[]): Buffer[] {
  return lists.map((fields) => {
    const into = Buffer.alloc(encoder.boundOf(fields))
    return into.subarray(0, encoder.encode(fields, into, 0))
  })
}

/** Literals without indexing throughout, as nginx and HAProxy write them: nothing is learnt from block to block. */
function literalBlock(fields: readonly string[]): Buffer {
  const encoder = new HpackEncoder({ tableBytesMax: 0 })
  blocksOf(encoder, [[]])
  return blocksOf(encoder, [fields])[0] as Buffer
}

const serials = Array.from({ length: SERIALS }, (_, serial) => serial)
const pageRequests = serials.map((serial) => browserRequest(`/products/${serial}/reviews?page=2`))
const apiResponses = serials.map(apiResponse)

interface Case {
  readonly title: string
  /** Sent before, in order; not measured. */
  readonly before: readonly (readonly string[])[]
  readonly lists: readonly (readonly string[])[]
  /** Whether each list goes to a new connection. */
  readonly fresh?: boolean
}

const cases: Case[] = [
  { title: 'browser request, first of a connection', before: [], lists: pageRequests, fresh: true },
  { title: 'browser request, another path', before: pageRequests, lists: pageRequests },
  { title: 'browser request, repeated', before: pageRequests, lists: [browserRequest('/')] },
  { title: 'API response, first of a connection', before: [], lists: apiResponses, fresh: true },
  { title: 'API response, another one', before: apiResponses, lists: apiResponses },
  { title: 'small response, repeated', before: [SMALL_RESPONSE], lists: [SMALL_RESPONSE] },
]

/** The median of several rounds, in ns per call. */
function measure(rounds: (() => number)[]): number {
  const results = rounds.map((round) => round()).sort((a, b) => a - b)
  return results[results.length >> 1] as number
}

function round(call: (index: number) => unknown): () => number {
  return () => {
    let calls = 0
    const start = process.hrtime.bigint()
    let elapsed = 0
    while (elapsed < ROUND_MS * 1e6) {
      for (let index = 0; index < SERIALS; index++) call(index)
      calls += SERIALS
      elapsed = Number(process.hrtime.bigint() - start)
    }
    return elapsed / calls
  }
}

function decodeRound(implementation: Implementation, { before, lists, fresh }: Case): () => number {
  const encoder = new HpackEncoder()
  const blocks = fresh
    ? lists.map((list) => blocksOf(new HpackEncoder(), [list])[0] as Buffer)
    : [...blocksOf(encoder, before), ...blocksOf(encoder, lists)].slice(before.length)
  if (fresh) return round((index) => implementation.decoder()(blocks[index % blocks.length] as Buffer))
  const decode = implementation.decoder()
  for (const block of blocksOf(new HpackEncoder(), before)) decode(block)
  // Nothing is added any more: each of these blocks leaves the table as it is.
  return round((index) => decode(blocks[index % blocks.length] as Buffer))
}

function encodeRound(implementation: Implementation, { before, lists, fresh }: Case): () => number {
  if (fresh) return round((index) => implementation.encoder()(lists[index % lists.length] as string[]))
  const encode = implementation.encoder()
  for (const list of before) encode(list)
  return round((index) => encode(lists[index % lists.length] as string[]))
}

function print(title: string, results: readonly number[]): void {
  console.log(`${title.padEnd(48)}${results.map((ns) => `${ns.toFixed(0)} ns`.padStart(15)).join('')}`)
}

console.log(`Node ${process.version}, ${cpus()[0]?.model}; median of ${ROUNDS} rounds, ns per block`)
console.log(`${''.padEnd(48)}${implementations.map(({ name }) => name.padStart(15)).join('')}`)
for (const item of cases) {
  print(
    `decode: ${item.title}`,
    implementations.map((each) => measure(Array.from({ length: ROUNDS }, () => decodeRound(each, item)))),
  )
}
const literals = literalBlock(SMALL_RESPONSE)
print(
  'decode: small response, literals only',
  implementations.map((each) => {
    const decode = each.decoder()
    return measure(Array.from({ length: ROUNDS }, () => round(() => decode(literals))))
  }),
)
for (const item of cases) {
  print(
    `encode: ${item.title}`,
    implementations.map((each) => measure(Array.from({ length: ROUNDS }, () => encodeRound(each, item)))),
  )
}
