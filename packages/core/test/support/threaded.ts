import { request } from 'node:http'
import { Program } from '../support.ts'

/** What an answer of the program says. */
export interface ThreadedAnswer {
  readonly thread: number
  readonly gen: number
  readonly hits: number
  readonly from: string
}

/** What its main thread says. */
export interface ThreadedReport {
  readonly threads: readonly {
    readonly thread: number
    readonly state: string
    readonly openCount: number
    readonly deathCount: number
    readonly stuckCount: number
  }[]
  readonly counters: Readonly<Record<string, number>>
}

/** The program `threaded-server.ts`, with worker threads; killed at the end of its scope. */
export class ThreadedProgram extends Program {
  /** The last one is of the service that the main thread serves. */
  ports: readonly number[] = []

  static async start(env: NodeJS.ProcessEnv = {}, argv: readonly string[] = []): Promise<ThreadedProgram> {
    const program = new ThreadedProgram('threaded-server.ts', argv, { env })
    const ports = await program.line(/^running \d+ generation \d+ at ([\d .a-z/-]+)$/m)
    program.ports = ports.split(' ').map(Number)
    return program
  }

  get port(): number {
    return this.ports[0] ?? 0
  }

  async ask(path: string = '/', port: number = this.port): Promise<ThreadedAnswer> {
    return parseAnswer(await get(port, path))
  }

  async report(): Promise<ThreadedReport> {
    return JSON.parse(await get(this.ports.at(-1) ?? 0, '/')) as ThreadedReport
  }

  /** Asks for reports until one is as wanted. */
  async until(isSo: (report: ThreadedReport) => boolean): Promise<ThreadedReport> {
    for (;;) {
      const report = await this.report()
      if (isSo(report)) return report
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

export function parseAnswer(text: string): ThreadedAnswer {
  const found = /thread=(\d+) gen=(\d+) hits=(\d+) pid=\d+ from=(\S+)/.exec(text)
  if (found === null) throw new Error(`Not an answer: ${JSON.stringify(text)}`)
  return { thread: Number(found[1]), gen: Number(found[2]), hits: Number(found[3]), from: found[4] ?? '' }
}

/** One request on a connection of its own. */
export function get(port: number, path: string, localAddress: string = '127.0.0.1'): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const sent = request({ host: '127.0.0.1', port, path, agent: false, localAddress }, (response) => {
    let body = ''
    response.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    response.on('end', () => resolve(body))
    response.on('error', reject)
  })
  sent.on('error', reject)
  sent.end()
  return promise
}
