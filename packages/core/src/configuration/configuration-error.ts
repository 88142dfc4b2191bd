/** One mistake in a configuration. */
export interface ConfigurationIssue {
  /** The key it is about, as written; '' if it is about the text as a whole. */
  readonly key: string
  /** What is wrong, without the place. */
  readonly message: string
  /** From 1; `undefined` if the configuration did not come from text. */
  readonly line: number | undefined
  /** From 1, in UTF-16 units; `undefined` if the configuration did not come from text. */
  readonly column: number | undefined
  /** The valid name that an unknown key was probably meant to be. */
  readonly suggestion: string | undefined
}

/**
 * A configuration that cannot be used, with every mistake in it, not only the first.
 *
 * `message` has one line per mistake, `file:line:column: what is wrong`. There are no stack frames: the
 * mistake is not in the program.
 */
export class ConfigurationError extends Error {
  override readonly name: string = 'ConfigurationError'
  /** The file's path, or what `parseConfiguration` was told; `undefined` for an object. */
  readonly file: string | undefined
  readonly issues: readonly ConfigurationIssue[]

  constructor(file: string | undefined, issues: readonly ConfigurationIssue[]) {
    const lines = issues.map((issue) => describe(file, issue))
    super(lines.length === 1 ? String(lines[0]) : `${lines.length} mistakes:\n  ${lines.join('\n  ')}`)
    this.stack = `${this.name}: ${this.message}`
    this.file = file
    this.issues = issues
  }
}

function describe(file: string | undefined, issue: ConfigurationIssue): string {
  const hint = issue.suggestion === undefined ? '' : `; did you mean "${issue.suggestion}"?`
  const text = issue.key === '' ? issue.message : `"${issue.key}": ${issue.message}`
  const place = [file, issue.line, issue.column].filter((part) => part !== undefined)
  return place.length === 0 ? `${text}${hint}` : `${place.join(':')}: ${text}${hint}`
}
