import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { root } from './workspace.ts'

/** The files with a failed test, relative to the repository, of a report by Vitest's JSON reporter. */
export function failedTestFiles(report: string): string[] {
  let results: readonly { name: string; status: string }[]
  try {
    results = JSON.parse(readFileSync(report, 'utf8')).testResults
  } catch {
    return [] // Vitest itself has failed: nothing to look at again
  }
  return results.filter(({ status }) => status === 'failed').map(({ name }) => relative(root, name))
}
