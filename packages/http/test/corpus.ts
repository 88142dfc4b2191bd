import { readFileSync } from 'node:fs'
import {
  HEAD_FAILED,
  type HttpProfile,
  NEED_MORE,
  RequestHeadParser,
  ResponseHeadParser,
} from '../src/index.ts'

/** What a refused entry must give. */
export interface Refusal {
  readonly status: number
  readonly code: string
}

/** The parts and facts of an accepted head; a fact left out has its default. */
export type Expected = Readonly<Record<string, unknown>>

/** One line of `data/requests.json` or `data/responses.json`. */
export interface Entry {
  readonly name: string
  readonly rule: string
  readonly raw: string
  readonly strict: 'accept' | Refusal
  readonly lenient: 'accept' | Refusal
  readonly expected?: Expected
  readonly lenientExpected?: Expected
}

export type Kind = 'requests' | 'responses'
export type AnyParser = RequestHeadParser | ResponseHeadParser

export function readCorpus(kind: Kind): Entry[] {
  return JSON.parse(readFileSync(new URL(`../data/${kind}.json`, import.meta.url), 'utf8')) as Entry[]
}

export function parserOf(kind: Kind, profile: HttpProfile): AnyParser {
  return kind === 'requests' ? new RequestHeadParser({ profile }) : new ResponseHeadParser({ profile })
}

/** What came out: where the head ended, or the refusal, with header and facts as plain data. */
export interface Outcome {
  readonly after: number
  readonly failure: Refusal | null
  readonly head: Expected | null
}

/** Feeds `bytes` cut at `cuts` and stops at the first verdict. */
export function feed(parser: AnyParser, bytes: Buffer, cuts: readonly number[]): Outcome {
  let start = 0
  for (const cut of [...cuts, bytes.length]) {
    const after = parser.execute(bytes, start, cut)
    if (after === HEAD_FAILED) {
      const { status, code } = parser.failure ?? { status: 0, code: '' }
      return { after, failure: { status, code }, head: null }
    }
    if (after !== NEED_MORE) return { after, failure: null, head: factsOf(parser) }
    start = cut
  }
  return { after: NEED_MORE, failure: null, head: null }
}

export function factsOf(parser: AnyParser): Expected {
  const common = {
    contentLength: parser.contentLength,
    chunked: parser.chunked,
    keepAlive: parser.keepAlive,
    upgrade: parser.upgrade,
    hopByHop: parser.hopByHop,
  }
  if (parser instanceof RequestHeadParser) {
    const expectContinue = parser.expectContinue
    const { method, target, version, fields } = parser.takeHeader()
    return { method, target, version, fields, ...common, expectContinue }
  }
  const { keepAliveTimeoutMs, keepAliveUses } = parser
  const { status, reason, version, fields } = parser.takeHeader()
  return { status, reason, version, fields, ...common, keepAliveTimeoutMs, keepAliveUses }
}

/** The whole of what an entry expects, with the defaults that it leaves out. */
export function expectedOf(kind: Kind, entry: Entry, profile: HttpProfile): Outcome {
  const verdict = entry[profile]
  if (verdict !== 'accept') return { after: HEAD_FAILED, failure: verdict, head: null }
  const given = (profile === 'lenient' ? entry.lenientExpected : undefined) ?? entry.expected
  const facts = { contentLength: -1, chunked: false, keepAlive: true, upgrade: false, hopByHop: false }
  const own = kind === 'requests' ? { expectContinue: false } : { keepAliveTimeoutMs: -1, keepAliveUses: -1 }
  return {
    after: Buffer.byteLength(entry.raw, 'latin1'),
    failure: null,
    head: { ...facts, ...own, ...given },
  }
}
