import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, type NetConnectOpts, type Socket } from 'node:net'
import { join } from 'node:path'
import { createConfiguration, type ServiceContext, silentLogger } from '../src/index.ts'

/** A context for starting a service without a server. */
export function testContext(): ServiceContext & { readonly controller: AbortController } {
  const controller = new AbortController()
  return {
    configuration: createConfiguration(),
    logger: silentLogger,
    shutdown: controller.signal,
    controller,
  }
}

/** A client socket; destroyed at the end of its scope. */
export class Client implements AsyncDisposable {
  readonly socket: Socket
  readonly closed: Promise<void>
  received = ''

  constructor(options: NetConnectOpts) {
    this.socket = createConnection(options)
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
    this.socket.on('data', (data) => {
      this.received += String(data)
    })
  }

  /** Sends, then waits until what was received ends with `answer`. */
  async exchange(text: string, answer: string): Promise<void> {
    this.socket.write(text)
    while (!this.received.endsWith(answer)) await once(this.socket, 'data')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.closed
  }
}

/** A program of `test/programs` in a process of its own; killed at the end of its scope. */
export class Program implements AsyncDisposable {
  readonly child: ChildProcess
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>
  output = ''
  log = ''

  constructor(
    name: string,
    argv: readonly string[] = [],
    options: { env?: NodeJS.ProcessEnv; ulimit?: number } = {},
  ) {
    const command = [
      process.execPath,
      '--conditions=@cirque/source',
      join(import.meta.dirname, 'programs', name),
      ...argv,
    ]
    const limited =
      options.ulimit === undefined
        ? command
        : ['sh', '-c', `ulimit -n ${options.ulimit}; exec "$@"`, 'sh', ...command]
    this.child = spawn(limited[0] ?? '', limited.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    })
    this.exited = once(this.child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    this.child.stdout?.on('data', (data) => {
      this.output += String(data)
    })
    this.child.stderr?.on('data', (data) => {
      this.log += String(data)
    })
  }

  /** Waits for a line of stdout or stderr that matches, and returns its first group. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.output) ?? pattern.exec(this.log)
      if (found !== null) return found[1] ?? ''
      const more = new AbortController()
      const ended = this.exited.then(() => {
        throw new Error(`The program ended without ${pattern}: ${this.output}${this.log}`)
      })
      const { stdout, stderr } = this.child
      if (stdout === null || stderr === null) throw new Error('No output')
      try {
        const options = { signal: more.signal }
        await Promise.race([once(stdout, 'data', options), once(stderr, 'data', options), ended])
      } finally {
        more.abort()
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    await this.exited
  }
}
