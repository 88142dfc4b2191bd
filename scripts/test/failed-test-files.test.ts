import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { failedTestFiles } from '../failed-test-files.ts'
import { root } from '../workspace.ts'

test('names the files with failures, and none where there is no report', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cirque-report-'))
  try {
    const report = join(folder, 'tests.json')
    expect(failedTestFiles(report)).toEqual([])
    const testResults = ['failed', 'passed'].map((status) => ({
      status,
      name: join(root, 'packages/a/test', `${status}.test.ts`),
    }))
    writeFileSync(report, JSON.stringify({ testResults }))
    expect(failedTestFiles(report)).toEqual([join('packages/a/test', 'failed.test.ts')])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
