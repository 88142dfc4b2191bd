import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root } from '../workspace.ts'

/** How a process ended, and all that it said. */
export interface ExampleResult {
  /** The exit status, or `null` when a signal ended it. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * An example of `examples/`, started from its source in a process of its own, as a user would with
 * `node src/main.ts`. Killed at the end of its scope, should it still run.
 *
 * @example
 * await using proxy = new ExampleProcess('gatekeeper', ['--ba', '127.0.0.1:0', '--pa', upstream.address])
 * const reply = await request(await proxy.address(), '/')
 */
export class ExampleProcess implements AsyncDisposable {
  stdout = ''
  stderr = ''
  readonly #child: ChildProcess
  readonly #ended: Promise<ExampleResult>

  constructor(folder: string, argv: readonly string[]) {
    // The test runner's own options must not reach the program: its user does not have them.
    const { NODE_OPTIONS: _options, FORCE_COLOR: _color, ...env } = process.env
    const main = join(root, 'examples', folder, 'src/main.ts')
    this.#child = spawn(process.execPath, ['--conditions=@cirque/source', main, ...argv], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.#ended = once(this.#child, 'close').then(([status]) => ({
      status: status as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }))
  }

  /** Waits until the output has the text, and returns its match; fails when the program ends before. */
  async output(pattern: RegExp): Promise<RegExpExecArray> {
    const { stdout, stderr } = this.#child
    for (;;) {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
      if (found !== null) return found
      const waiting = new AbortController()
      const { signal } = waiting
      try {
        const more = [stdout, stderr].map((stream) =>
          once(stream as NonNullable<typeof stream>, 'data', { signal }),
        )
        const end = this.#ended.then(({ status }) => {
          throw new Error(`Ended with ${status} and without ${pattern}:\n${this.stdout}${this.stderr}`)
        })
        await Promise.race([...more, end])
      } finally {
        waiting.abort()
      }
    }
  }

  /**
   * The address of a listener, as the log tells once it is bound.
   *
   * @param service - The service it belongs to. Default: any.
   * @param index - Counts the listeners of that service from 0.
   */
  async address(service: string = '', index: number = 0): Promise<string> {
    const line = ` Listening service="?${service}[^\\n]* address=(\\S+) tls=`
    const found = await this.output(new RegExp(`(?:${line}[^]*?){${index + 1}}`))
    return found[1] as string
  }

  /** Asks it to end, and waits until it has. */
  stop(): Promise<ExampleResult> {
    this.#child.kill()
    return this.#ended
  }

  /** Waits until it ends by itself. */
  get ended(): Promise<ExampleResult> {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#ended
  }
}
