import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Inputs are kept as lines of JSON, one string each, a character per byte: they can be read, and a change of one is a
 * change of a line.
 */
const CORPORA: URL = new URL('../corpora/', import.meta.url)
/** Inputs that once failed, each on a line; they are never dropped. */
const REGRESSIONS: URL = new URL('../regressions/', import.meta.url)

/** Longest input that goes into a corpus, in bytes: what takes more is made anew. */
export const CORPUS_INPUT_BYTES_MAX: number = 2_048

/** Where a target's corpus is. */
export function corpusFile(target: string): string {
  return fileURLToPath(new URL(`${target}.jsonl`, CORPORA))
}

/** The kept inputs of a target: those that failed once, and those that reach much of its code. */
export function keptInputs(target: string): Buffer[] {
  const failed = fileURLToPath(new URL(`${target}.jsonl`, REGRESSIONS))
  return [...readInputs(failed), ...readInputs(corpusFile(target))]
}

/** The inputs of a file, or none if it does not exist. */
export function readInputs(file: string): Buffer[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => Buffer.from(JSON.parse(line) as string, 'latin1'))
}

/** Writes inputs, the shortest first. */
export function writeInputs(file: string, inputs: readonly Buffer[]): void {
  const sorted = [...inputs].sort((a, b) => a.length - b.length || Buffer.compare(a, b))
  writeFileSync(file, sorted.map((input) => `${show(input)}\n`).join(''))
}

/** An input as it stands in a corpus, and as JavaScript would read it. */
export function show(input: Buffer): string {
  return JSON.stringify(input.toString('latin1')).replace(
    /[\x7f-\xff]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  )
}
