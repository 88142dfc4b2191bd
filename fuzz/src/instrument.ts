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
  const counting = new Counting(firstCounter)
  counting.visit(parseAst(plain) as unknown as Node)
  const { insertions, literals } = counting
  // Stable: what was inserted first at a place stays in front, as outer parts open before inner ones.
  insertions.sort((a, b) => a.at - b.at)
  let code = 'const $hits=globalThis.__fuzzHits;'
  let at = 0
  for (const insertion of insertions) {
    code += plain.slice(at, insertion.at) + insertion.text
    at = insertion.at
  }
  return { code: code + plain.slice(at), counters: counting.next - firstCounter, literals: [...literals] }
}

/** Walks a module and notes what is to be inserted where. */
class Counting {
  readonly insertions: { at: number; text: string }[] = []
  readonly literals: Set<string> = new Set()
  /** Of the counters. */
  next: number

  constructor(firstCounter: number) {
    this.next = firstCounter
  }

  visit(node: Node): void {
    switch (node.type) {
      case 'BlockStatement':
        this.#insert(node.start + 1, `${this.#count()};`)
        break
      case 'IfStatement':
        this.#visitIf(node)
        return
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        this.#visitChildren(node, 'body')
        this.#branch(node['body'] as Node)
        return
      case 'SwitchCase': {
        const [first] = node['consequent'] as Node[]
        if (first !== undefined) this.#insert(first.start, `${this.#count()};`)
        break
      }
      case 'ConditionalExpression':
        this.visit(node['test'] as Node)
        this.#wrap(node['consequent'] as Node, `(${this.#count()},`, ')')
        this.#wrap(node['alternate'] as Node, `(${this.#count()},`, ')')
        return
      case 'LogicalExpression':
        this.visit(node['left'] as Node)
        this.#wrap(node['right'] as Node, `(${this.#count()},`, ')')
        return
      case 'Literal':
        this.#keepLiteral(node['value'])
        return
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
        return
    }
    this.#visitChildren(node)
  }

  #visitIf(node: Node): void {
    const consequent = node['consequent'] as Node
    const alternate = node['alternate'] as Node | null
    this.visit(node['test'] as Node)
    this.#branch(consequent)
    if (alternate === null) this.#insert(consequent.end, `else{${this.#count()}}`)
    else this.#branch(alternate)
  }

  #visitChildren(node: Node, except?: string): void {
    for (const key of Object.keys(node)) {
      if (key === except) continue
      const value = node[key]
      for (const child of Array.isArray(value) ? value : [value]) {
        if (typeof (child as Node | null)?.type === 'string') this.visit(child as Node)
      }
    }
  }

  /** A statement that runs on a decision. A block counts by itself. */
  #branch(node: Node): void {
    if (node.type === 'BlockStatement') this.visit(node)
    else this.#wrap(node, `{${this.#count()};`, '}')
  }

  #wrap(node: Node, before: string, after: string): void {
    this.#insert(node.start, before)
    this.visit(node)
    this.#insert(node.end, after)
  }

  #insert(at: number, text: string): void {
    this.insertions.push({ at, text })
  }

  #count(): string {
    return `$hits[${this.next++}]++`
  }

  #keepLiteral(value: unknown): void {
    if (typeof value === 'string') {
      if (value.length > 0 && value.length <= LITERAL_CHARACTERS_MAX) this.literals.add(value)
    } else if (typeof value === 'number' && Number.isInteger(value) && value >= 0) {
      this.literals.add(value < 256 ? String.fromCharCode(value) : String(value))
    }
  }
}
