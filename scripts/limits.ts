import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesUnder, root } from './workspace.ts'

/** An option that bounds something, as the source documents it. */
export interface LimitOption {
  /** `core` */
  readonly package: string
  /** `HttpServerOptions` */
  readonly owner: string
  readonly name: string
  /** As the docstring writes it: `65,536`, `1 MiB`, `none`. */
  readonly fallback: string
}

/** Number options with such a name bound what a peer, a caller or a failure can cost. */
const BOUND =
  /Max(?:Ms)?$|TimeoutMs$|PerSecondMin$|WindowBytes$|PoolSize(?:PerPeer)?$|^(?:backlog|readAheadBytes|timeoutMs|max[A-Z]\w*)$/
const INTERFACE = /^export interface (\w+)[^{]*\{\n([\s\S]*?)^\}/gm
const OPTION = /((?: {2}\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?) {2}(?:readonly )?(\w+)\?: number(?: \| \w+)?\n/g

/** Every option of every package that bounds something, in the order of the sources. */
export function limitOptions(): LimitOption[] {
  const found: LimitOption[] = []
  for (const file of filesUnder(join(root, 'packages'), '.ts')) {
    const name = /packages[/\\]([\w-]+)[/\\]src[/\\]/.exec(file)?.[1]
    if (name === undefined) continue
    for (const [, owner = '', body = ''] of readFileSync(file, 'utf8').matchAll(INTERFACE)) {
      for (const [, comment = '', option = ''] of body.matchAll(OPTION)) {
        if (!BOUND.test(option)) continue
        const fallback = fallbackOf(comment)
        if (fallback !== undefined) found.push({ package: name, owner, name: option, fallback })
      }
    }
  }
  return found
}

/** The default that a docstring tells; `none` where only a caller's wish bounds; undefined for an option of tests. */
function fallbackOf(comment: string): string | undefined {
  const text = comment.replaceAll(/\s*\n\s*\*?\s*/g, ' ')
  if (/As in \{@link|In place of|required then|Soft limit of/.test(text)) return undefined
  const number = /[Dd]efault:? (?:the configuration's `\w+`, )?([\d.,]*\d(?:e\d+)?(?: [KMG]iB)?)\b/.exec(
    text,
  )?.[1]
  if (number !== undefined) return number
  return /\b([\d,]*\d)(?:, the default|, which is the default)/.exec(text)?.[1] ?? 'none'
}

/** A number as documentation writes it, in figures: `1 MiB` is 1048576. */
export function numberOf(text: string): number {
  const [figures = '', unit] = text.replaceAll(',', '').split(' ')
  return Number(figures) * (unit === 'GiB' ? 2 ** 30 : unit === 'MiB' ? 2 ** 20 : unit === 'KiB' ? 1_024 : 1)
}

/** Where the code of a package gives `name` a default: the numbers of `name ?? 5`, `name = 5` and `name: 5`. */
export function defaultsInCode(folder: string, name: string): number[] {
  const sources = filesUnder(join(root, 'packages', folder, 'src'), '.ts').map((file) =>
    readFileSync(file, 'utf8'),
  )
  const values: number[] = []
  const assigned = new RegExp(
    String.raw`\b${name}\b(?:'?,? (?:options|given)\.${name})?\s*(?:\?\?|=|:|',|, )\s*([A-Z_][A-Z_0-9]+|[\d_.]+(?: \*\* \d+)?)`,
    'g',
  )
  for (const source of sources) {
    for (const [, value = ''] of source.matchAll(assigned)) values.push(resolve(value, source, sources))
  }
  return values.filter((value) => !Number.isNaN(value))
}

/** A literal, or the constant of that name in this file or another one. */
function resolve(value: string, source: string, sources: readonly string[]): number {
  if (/^[\d_.]/.test(value)) return power(value)
  const declared = new RegExp(String.raw`const ${value}(?:: number)? = ([\d_.]+(?: \*\* \d+)?)`)
  for (const text of [source, ...sources]) {
    const literal = declared.exec(text)?.[1]
    if (literal !== undefined) return power(literal)
  }
  return Number.NaN
}

function power(literal: string): number {
  const [base = '', exponent] = literal.replaceAll('_', '').split(' ** ')
  return exponent === undefined ? Number(base) : Number(base) ** Number(exponent)
}
