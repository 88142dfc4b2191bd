import { HEAD_FAILED, NEED_MORE, RequestHeadParser } from '@cirque/http'
import type { Session } from '@cirque/proxy'
import fc from 'fast-check'
import { Entry } from '../../../packages/access-log/src/entry.ts'
import { type CompiledFormat, compileFormat } from '../../../packages/access-log/src/format.ts'
import { REDACTED, REDACTED_QUERY_DEFAULT, Redactor } from '../../../packages/access-log/src/redaction.ts'
import { holds, same } from '../check.ts'
import type { Target } from '../target.ts'

const CUT = 300
const COLUMNS = [
  'request',
  'args',
  'arg_q',
  'http_referer',
  'http_x',
  'host',
  'remote_user',
  'http_cookie',
  'request_id',
]
const redactor = new Redactor()
const rules = { isSecretField: (name: string) => redactor.isSecretField(name), valueCharactersMax: CUT }
const text: CompiledFormat = compileFormat(COLUMNS.map((name) => `"$${name}"`).join(' '), rules)
const json: CompiledFormat = compileFormat(
  Object.fromEntries(COLUMNS.map((name) => [name, `$${name}`])),
  rules,
)
const QUOTED = String.raw`"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\x[0-9A-F]{2})*)"`
const LINE = new RegExp(`^${COLUMNS.map(() => QUOTED).join(' ')}$`)
const secrets: ReadonlySet<string> = new Set(REDACTED_QUERY_DEFAULT)

/** Lines of access logs: what clients send forges no column, comes back when it is read, and brings no secret. */
export const target: Target = {
  name: 'access-log',
  seeds: [
    'GET /?q=1&token=s HTTP/1.1\r\nHost: a\r\nReferer: http://b/?x=1;sig=s#access_token=s\r\nX: "\\\x80\r\n\r\n',
    'GET /?%74oken=s&q=1;code=s&a[0]=2 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nCookie: c\r\n\r\n',
  ],
  words: ['token=', 'sig=', '%74oken=', 'code=', ';', '#', 'Authorization: Basic ', 'Referer: ', 'X: ', 'q='],
  inputs: fc
    .record({
      query: fc.array(
        fc.tuple(
          fc.constantFrom('q', 'token', 'TOKEN', '%74oken', 'to%6ben[]', 'code[1]', 'a', '', 'a%FFb', '+sig'),
          fc.constantFrom('=', '', '=='),
          fc.constantFrom('s', '1;token=s', '%22', '"', 'a?sig=s', '|'),
        ),
        { maxLength: 5 },
      ),
      join: fc.constantFrom('&', ';', '?'),
      x: fc.string({ maxLength: 40 }),
    })
    .map(({ query, join, x }) => {
      const pairs = query.map((parts) => parts.join('')).join(join)
      const value = x.replace(/[^\t\x20-\x7e]/g, '\x85')
      return Buffer.from(
        `GET /?${pairs} HTTP/1.1\r\nHost: a\r\nReferer: /?${pairs}#${pairs}\r\nX: ${value}\r\n\r\n`,
        'latin1',
      )
    }),
  run(input) {
    const parser = new RequestHeadParser({ profile: 'lenient' })
    const after = parser.execute(input, 0, input.length)
    if (after === NEED_MORE || after === HEAD_FAILED) return
    const request = parser.takeHeader()
    const entry = new Entry(redactor)
    entry.fill({ request, requestId: request.get('x') } as Session, undefined)
    const columns = LINE.exec(text.line(entry))?.slice(1)
    if (columns === undefined) throw new Error(`a line has its columns and nothing else: ${text.line(entry)}`)
    const shown = Object.fromEntries(
      COLUMNS.map((name, index) => [name, unescaped(columns[index] as string)]),
    )
    const expected = (value: string | undefined) =>
      value === undefined || value === '' ? '-' : value.length > CUT ? `${value.slice(0, CUT)}...` : value
    same('a field reads back', shown['http_x'], expected(request.getCombined('x')))
    same('so does an id', shown['request_id'], expected(request.get('x')))
    same('and the host', shown['host'], expected(request.host))
    same('a secret field is not shown', shown['http_cookie'], request.has('cookie') ? REDACTED : '-')
    const [, ...target] = (shown['request'] as string).split(' ')
    checkSecrets('request', target.join(' '))
    for (const name of ['args', 'http_referer']) checkSecrets(name, shown[name] as string)
    checkSecrets('arg_q', `q=${shown['arg_q']}`)
    const line = json.line(entry)
    holds('a line of JSON is one line of ASCII', /^[\x20-\x7e]*$/.test(line))
    same('JSON reads back', JSON.parse(line), json.fields?.(entry))
  },
}

function unescaped(column: string): string {
  return column.replace(/\\x(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** As an application would read the pairs, whatever separates them for it. */
function checkSecrets(column: string, shown: string): void {
  const begin = column.startsWith('arg') ? 0 : shown.search(/[?#]/) + 1
  if (begin === 0 && !column.startsWith('arg')) return
  const pairs = shown
    .slice(begin)
    .replace(/ HTTP\/\d\.\d$/, '')
    .split(/[&;?#]/)
  // The last one may be cut.
  if (shown.endsWith('...')) pairs.pop()
  for (const pair of pairs) {
    const [entry] = new URLSearchParams(pair)
    const name = entry?.[0]
      .trim()
      .replace(/\[\d*\]$/, '')
      .toLowerCase()
    if (name === undefined || !pair.includes('=') || !secrets.has(name)) continue
    holds(`no secret in ${column}`, pair.endsWith(`=${REDACTED}`))
  }
}
