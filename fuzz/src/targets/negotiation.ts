import { acceptedCodings, chooseCoding, listsEntityTag, notModifiedFilter } from '@cirque/core'
import { RequestHeader, ResponseHeader } from '@cirque/http'
import fc from 'fast-check'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const CODINGS = ['gzip', 'br', 'zstd'] as const
const part = fc.constantFrom(
  'gzip',
  'br',
  'zstd',
  '*',
  'identity',
  ';q=0',
  ';q=0.5',
  ';q=1.000',
  ',',
  ' ',
  '"a"',
  'W/"a"',
  '"',
  'W/',
  '\t',
)

/** `Accept-Encoding` and the conditions of a request, split from each other by a line feed. */
export const target: Target = {
  name: 'negotiation',
  seeds: ['gzip;q=0.5, br, *;q=0\n"a", W/"b"', 'zstd\n*', ', ,gzip\n"a,b" ,"c"'],
  inputs: fc
    .array(part, { maxLength: 10 })
    .map((parts) => Buffer.from(`${parts.join('')}\n${parts.reverse().join('')}`)),
  run(input) {
    const text = input.toString('latin1')
    const line = text.indexOf('\n')
    const first = line < 0 ? text : text.slice(0, line)
    const second = line < 0 ? '' : text.slice(line + 1)
    checkCodings(first)
    checkTags(second)
  },
}

function checkCodings(value: string): void {
  const accepted = acceptedCodings(value)
  for (const coding of CODINGS) {
    holds('a weight is from 0 to 1', accepted[coding] >= 0 && accepted[coding] <= 1)
    if (!value.includes('*') && !value.toLowerCase().includes(coding)) {
      same('a coding that is not named is not accepted', accepted[coding], 0)
    }
  }
  const chosen = chooseCoding(accepted, CODINGS)
  if (chosen === undefined) return
  holds('what is chosen is accepted', accepted[chosen] > 0)
  for (const coding of CODINGS) holds('nothing is liked better', accepted[coding] <= accepted[chosen])
  holds('not to code is not liked better', (accepted.identity ?? 0) <= accepted[chosen])
}

function checkTags(list: string): void {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(list)) return
  const etag = '"a"'
  const listed = listsEntityTag(list, etag)
  if (listed) holds('a tag that is listed stands there', list.includes('a'))
  same('the weak comparison', listsEntityTag(list, `W/${etag}`), listed)
  const request = RequestHeader.build('GET', '/', [['If-None-Match', list]])
  const notModified = notModifiedFilter(request, ResponseHeader.build(200, [['ETag', etag]]))
  same('304 exactly for a listed tag or the asterisk', notModified, listed || list.trim() === '*')
  same(
    'never for another status',
    notModifiedFilter(request, ResponseHeader.build(206, [['ETag', etag]])),
    false,
  )
  const post = RequestHeader.build('POST', '/', [['If-None-Match', list]])
  same(
    'never for another method',
    notModifiedFilter(post, ResponseHeader.build(200, [['ETag', etag]])),
    false,
  )
}
