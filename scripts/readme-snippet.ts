import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What one `ts` block of a README did when it ran. */
export interface SnippetResult {
  /** The block's source, without its fences. */
  readonly code: string
  /** Line of the README where the block's code begins, counted from 1. */
  readonly line: number
  readonly stdout: string
  readonly stderr: string
  /** The process's exit code, or `null` when it was ended by a signal (also at the time limit). */
  readonly exitCode: number | null
}

/** A snippet that takes longer has hung: READMEs show things that end by themselves. */
const SNIPPET_TIMEOUT_MS = 30_000

/**
 * Runs every fenced `ts` block of a package's README and returns what each printed, in order.
 *
 * Each block becomes a file in a new `test/.tmp-*` folder beside the README, so `@cirque/<itself>` resolves
 * by self-reference and siblings through the package's own dependencies, all to their `src`. Other fences
 * (`sh`, `json`, `ts no-run`) are left alone.
 *
 * @param readme - Path or `file:` URL of the README, or of a page of the user guide.
 * @param packageFolder - Path or URL of the package whose `test` folder is used. Default: the README's own.
 * @throws {Error} If the README has no `ts` block: a package without a snippet should not pass.
 */
export async function runReadmeSnippets(
  readme: string | URL,
  packageFolder?: string | URL,
): Promise<SnippetResult[]> {
  const path = pathOf(readme)
  const packagePath = packageFolder === undefined ? dirname(path) : pathOf(packageFolder)
  const snippets = extractSnippets(await readFile(path, 'utf8'))
  if (snippets.length === 0) throw new Error(`No ts block in "${path}"`)

  const folder = await mkdtemp(join(packagePath, 'test', '.tmp-'))
  try {
    const results: SnippetResult[] = []
    for (const { code, line } of snippets) {
      const file = join(folder, `line-${line}.ts`)
      await writeFile(file, code)
      results.push({ code, line, ...(await run(file)) })
    }
    return results
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function pathOf(location: string | URL): string {
  return typeof location === 'string' ? location : fileURLToPath(location)
}

/** The `ts` blocks of a Markdown text. Only a fence that says exactly `ts` counts. */
function extractSnippets(markdown: string): { code: string; line: number }[] {
  const snippets: { code: string; line: number }[] = []
  const lines = markdown.split(/\r?\n/)
  for (let index = 0; index < lines.length; index++) {
    if (!lines[index]?.startsWith('```')) continue
    const isTs = lines[index]?.trimEnd() === '```ts'
    const first = index + 1
    do index++
    while (index < lines.length && lines[index]?.trimEnd() !== '```')
    if (isTs) snippets.push({ code: `${lines.slice(first, index).join('\n')}\n`, line: first + 1 })
  }
  return snippets
}

function run(file: string): Promise<Pick<SnippetResult, 'stdout' | 'stderr' | 'exitCode'>> {
  // The test runner's own options must not reach the snippet: a reader does not have them.
  const { NODE_OPTIONS: _options, FORCE_COLOR: _color, ...env } = process.env
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--conditions=@cirque/source', file],
      { env, timeout: SNIPPET_TIMEOUT_MS, killSignal: 'SIGKILL' },
      (_error, stdout, stderr) => resolve({ stdout, stderr, exitCode: child.exitCode }),
    )
  })
}
