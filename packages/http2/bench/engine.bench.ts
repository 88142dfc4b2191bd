// What the engine itself costs: two ends in one thread, without sockets. Requests of a browser's size with an answer of
// 13 bytes, a hundred at once, and 1 MiB in runs of 64 KiB. `node --conditions=@cirque/source engine.bench.ts [rounds]`
import { cpus } from 'node:os'
import {
  Http2Connection,
  type Http2ConnectionHandler,
  type Http2Stream,
  type Http2StreamHandler,
  WRITE_RETAINED,
} from '../src/index.ts'

const ROUNDS = Number(process.argv[2] ?? 9)
const SMALL_COUNT = 100
const SMALL_TURNS = 300
const LONG_RUNS = 16
const LONG_TURNS = 200
const SMALL = Buffer.from('hello, world!')
const LONG = Buffer.alloc(65_536, 'y')
const REQUEST = [
  ':method',
  'GET',
  ':scheme',
  'https',
  ':authority',
  'example.com',
  ':path',
  '/index.html',
  'user-agent',
  'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'accept',
  'text/html,application/xhtml+xml',
  'accept-language',
  'en-US,en;q=0.5',
  'cookie',
  'session=0123456789abcdef0123456789abcdef',
]
const RESPONSE = [':status', '200', 'content-type', 'text/plain', 'date', 'Fri, 27 Nov 2026 12:00:00 GMT']

class End implements Http2ConnectionHandler, Http2StreamHandler {
  connection: Http2Connection
  other: End | null = null
  readonly written: Buffer[] = []
  ended = 0
  long = false

  constructor(role: 'server' | 'client') {
    this.connection = new Http2Connection(role, this, { windowBytes: 1_048_576, frameBytesMax: 65_536 })
  }
  writeOutput(chunks: readonly Buffer[]): typeof WRITE_RETAINED {
    this.written.push(...chunks)
    return WRITE_RETAINED
  }
  /** Writes what waits, and lets the other end read it. */
  turn(): void {
    this.connection.flush()
    const to = (this.other as End).connection
    for (const chunk of this.written) {
      let all = to.receive(chunk, 0, chunk.length)
      while (!all) all = to.resumeInput()
    }
    this.written.length = 0
  }
  onRequest(stream: Http2Stream): void {
    stream.handler = this
    stream.resume()
    stream.sendHead(RESPONSE, false)
    if (this.long) for (let i = 0; i < LONG_RUNS; i++) stream.write(LONG, 0, LONG.length)
    else stream.write(SMALL, 0, SMALL.length)
    stream.end()
  }
  onEnd(): void {
    this.ended++
  }
  onOutputWaiting(): void {}
  onRequestRefused(): void {}
  onSettings(): void {}
  onGoaway(): void {}
  onPong(): void {}
  onDrained(): void {}
  onStreamClosed(): void {}
  onBroken(): void {}
  onConnectionError(_code: number, reason: string): void {
    throw new Error(reason)
  }
  onResponse(): void {}
  onData(): void {}
  onReset(): void {}
  onDrain(): void {}
}

const [server, client] = [new End('server'), new End('client')]
server.other = client
client.other = server
const turn = (): void => {
  for (let i = 0; i < 4; i++) {
    client.turn()
    server.turn()
  }
}
turn()

/** Microseconds of CPU for each of `count` requests in each of `turns`. */
function measure(count: number, turns: number): number {
  const before = process.cpuUsage()
  const endedBefore = client.ended
  for (let i = 0; i < turns; i++) {
    for (let k = 0; k < count; k++) client.connection.open(REQUEST, true, client)?.resume()
    turn()
  }
  const { user, system } = process.cpuUsage(before)
  if (client.ended - endedBefore !== count * turns) throw new Error('Not every request was answered')
  return (user + system) / (count * turns)
}

const small: number[] = []
const long: number[] = []
for (let round = 0; round <= ROUNDS; round++) {
  server.long = false
  const one = measure(SMALL_COUNT, SMALL_TURNS)
  server.long = true
  const other = measure(1, LONG_TURNS)
  if (round === 0) continue // compilers
  small.push(one)
  long.push(other)
}
const told = (values: number[]): string => {
  values.sort((a, b) => a - b)
  const at = (share: number): string => (values[Math.floor((values.length - 1) * share)] as number).toFixed(2)
  return `${at(0.5)} (${at(0)} to ${at(1)})`
}
console.log(
  `Node ${process.version}, ${cpus()[0]?.model ?? 'unknown CPU'}, ${ROUNDS} rounds, both ends, CPU in us`,
)
console.log(`small request and answer: ${told(small)}`)
console.log(`answer of 1 MiB: ${told(long)}`)
