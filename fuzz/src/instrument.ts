import { stripTypeScriptTypes } from 'node:module'
import { parseAst } from 'vite'

/** A module with counters in it. */
export interface Instrumented {
  readonly code: string
  /** How many counters it has. */
  readonly counters: number
  /** The strings and numbers that its code compares with: what a mutator would have to guess. */
  readonly literals: readonly string[]
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

const LITERAL_CHARACTERS_MAX = 64

/**
 * Puts a counter into each place of a module that a decision leads to: blocks, both arms of `?:` and `if`, also a
 * missing `else`, the right side of `&&`, `||` and `??`, and the cases of a `switch`. Lines keep their numbers.
 *
 * @param firstCounter - Where the module's counters begin in `globalThis.__fuzzHits`.
 */
export function instrument(source: string, firstCounter: number): Instrumented {
  const plain = stripTypeScriptTypes(source, { mode: 'strip' })
  const insertions: { at: number; text: string }[] = []
  const literals = new Set<string>()
  let next = firstCounter
  const count = (): string => `$hits[${next++}]++`
  const insert = (at: number, text: string): number => insertions.push({ at, text })

  function wrap(node: Node, before: string, after: string): void {
    insert(node.start, before)
    visit(node)
    insert(node.end, after)
  }

  /** A statement that runs on a decision. A block counts by itself. */
  function branch(node: Node): void {
    if (node.type === 'BlockStatement') visit(node)
    else wrap(node, `{${count()};`, '}')
  }

  function visit(node: Node): void {
    switch (node.type) {
      case 'BlockStatement':
        insert(node.start + 1, `${count()};`)
        break
      case 'IfStatement':
        visit(node['test'] as Node)
        branch(node['consequent'] as Node)
        if (node['alternate'] === null) insert((node['consequent'] as Node).end, `else{${count()}}`)
        else branch(node['alternate'] as Node)
        return
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        visitChildren(node, 'body')
        branch(node['body'] as Node)
        return
      case 'SwitchCase': {
        const [first] = node['consequent'] as Node[]
        if (first !== undefined) insert(first.start, `${count()};`)
        break
      }
      case 'ConditionalExpression':
        visit(node['test'] as Node)
        wrap(node['consequent'] as Node, `(${count()},`, ')')
        wrap(node['alternate'] as Node, `(${count()},`, ')')
        return
      case 'LogicalExpression':
        visit(node['left'] as Node)
        wrap(node['right'] as Node, `(${count()},`, ')')
        return
      case 'Literal':
        keepLiteral(node['value'])
        return
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
        return
    }
    visitChildren(node)
  }

  function visitChildren(node: Node, except?: string): void {
    for (const key of Object.keys(node)) {
      if (key === except) continue
      const value = node[key]
      for (const child of Array.isArray(value) ? value : [value]) {
        if (typeof (child as Node | null)?.type === 'string') visit(child as Node)
      }
    }
  }

  function keepLiteral(value: unknown): void {
    if (typeof value === 'string') {
      if (value.length > 0 && value.length <= LITERAL_CHARACTERS_MAX) literals.add(value)
    } else if (typeof value === 'number' && Number.isInteger(value) && value >= 0) {
      literals.add(value < 256 ? String.fromCharCode(value) : String(value))
    }
  }

  visit(parseAst(plain) as unknown as Node)
  // Stable: what was inserted first at a place stays in front, as outer parts open before inner ones.
  insertions.sort((a, b) => a.at - b.at)
  let code = 'const $hits=globalThis.__fuzzHits;'
  let at = 0
  for (const insertion of insertions) {
    code += plain.slice(at, insertion.at) + insertion.text
    at = insertion.at
  }
  return { code: code + plain.slice(at), counters: next - firstCounter, literals: [...literals] }
}
