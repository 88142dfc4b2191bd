import { Worker } from 'node:worker_threads'

/** Written to by the fuzzer, read by the watchdog's thread: a count of runs, the length of the input, the input. */
const HEAD_BYTES = 8

const SOURCE = `
const { workerData } = require('node:worker_threads')
const { writeFileSync } = require('node:fs')
const head = new Int32Array(workerData.memory, 0, 2)
let seen = -1
setInterval(() => {
  const run = Atomics.load(head, 0)
  if (run !== seen) { seen = run; return }
  if (run % 2 === 0) return
  const bytes = Buffer.from(workerData.memory, ${HEAD_BYTES}, Atomics.load(head, 1))
  writeFileSync(workerData.file, JSON.stringify(bytes.toString('latin1')) + '\\n')
  writeFileSync(2, 'One input keeps the target busy for more than ' + workerData.seconds + ' s: see ' + workerData.file + '\\n')
  process.kill(process.pid, 'SIGKILL')
}, workerData.seconds * 1000)
`

/** Ends the process when one run does not end: an endless loop cannot be interrupted from within. */
export class Watchdog {
  readonly #head: Int32Array
  readonly #input: Uint8Array
  readonly #worker: Worker

  /**
   * @param file - Gets the input that hangs.
   * @param seconds - One run may take this long; up to twice as long passes before the process ends.
   */
  constructor(file: string, inputBytesMax: number, seconds: number) {
    const memory = new SharedArrayBuffer(HEAD_BYTES + inputBytesMax)
    this.#head = new Int32Array(memory, 0, 2)
    this.#input = new Uint8Array(memory, HEAD_BYTES)
    this.#worker = new Worker(SOURCE, { eval: true, workerData: { memory, file, seconds } })
    this.#worker.unref()
  }

  /** The count is odd while a run is going on. */
  begin(input: Buffer): void {
    this.#input.set(input)
    Atomics.store(this.#head, 1, input.length)
    Atomics.add(this.#head, 0, 1)
  }

  end(): void {
    Atomics.add(this.#head, 0, 1)
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}
