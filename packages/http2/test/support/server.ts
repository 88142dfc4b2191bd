import type { ProxyError } from '@cirque/error'
import {
  ACK,
  type Frame,
  frame,
  GOAWAY,
  PREFACE,
  RST_STREAM,
  SETTINGS,
} from '../../../../scripts/test-support/http2-frames.ts'
import {
  Http2Connection,
  type Http2ConnectionHandler,
  type Http2Options,
  type Http2Request,
  type Http2Response,
  type Http2Stream,
  type Http2StreamHandler,
  type RequestProblem,
  type ResetOrigin,
  WRITE_DONE,
  WRITE_RETAINED,
  type WriteResult,
} from '../../src/index.ts'
import { framesOf } from './frames.ts'

/** What became of one stream. */
export class StreamRecord implements Http2StreamHandler {
  readonly stream: Http2Stream
  readonly request: Http2Request | null
  readonly responses: Http2Response[] = []
  body: Buffer = Buffer.alloc(0)
  ended = false
  trailers: string[] | null = null
  reset: { code: number; origin: ResetOrigin } | null = null
  drains = 0
  onMore: (() => void) | null = null

  constructor(stream: Http2Stream, request: Http2Request | null) {
    this.stream = stream
    this.request = request
  }
  onResponse(response: Http2Response): void {
    this.responses.push(response)
  }
  onData(buffer: Buffer, start: number, end: number): void {
    if (this.ended || this.reset !== null) throw new Error('Data out of place')
    this.body = Buffer.concat([this.body, buffer.subarray(start, end)])
  }
  onEnd(trailers: string[] | null): void {
    if (this.ended || this.reset !== null) throw new Error('An end out of place')
    this.ended = true
    this.trailers = trailers
  }
  onReset(code: number, origin: ResetOrigin): void {
    if (this.reset !== null) throw new Error('Reset twice')
    this.reset = { code, origin }
  }
  onDrain(): void {
    this.drains++
    this.onMore?.()
  }
}

/** One end of a connection, with all that happened to it. */
export class End implements Http2ConnectionHandler {
  readonly connection: Http2Connection
  readonly streams: StreamRecord[] = []
  readonly refused: RequestProblem[] = []
  readonly goaways: { lastStreamId: number; code: number }[] = []
  readonly closedIds: number[] = []
  error: { code: number; reason: string } | null = null
  readonly broken: { id: number | null; error: ProxyError }[] = []
  /** What is done with a stream whose state is broken. */
  answerBroken: (stream: Http2Stream) => void = () => undefined
  pongs = 0
  drained = false
  settingsCount = 0
  /** What `writeOutput` answers. */
  answer: WriteResult = WRITE_DONE
  /** If set: what it answers, in turn. */
  answers: readonly WriteResult[] | null = null
  /** What is done with a new request. */
  serve: (record: StreamRecord, endOfStream: boolean) => void = ({ stream }) => stream.resume()
  /** What was written; memory that it says to be in use is read only when it is taken. */
  output: Buffer[] = []
  writes = 0
  waiting = false

  constructor(role: 'server' | 'client', options?: Http2Options) {
    this.connection = new Http2Connection(role, this, options)
    this.waiting = true
  }
  writeOutput(chunks: readonly Buffer[]): WriteResult {
    const answer = this.answers?.[this.writes % this.answers.length] ?? this.answer
    this.writes++
    this.output.push(...chunks)
    // What is free now is so for all that came before, too.
    if ((answer & WRITE_RETAINED) === 0) this.output = [Buffer.concat(this.output)]
    return answer
  }
  onOutputWaiting(): void {
    this.waiting = true
  }
  onRequest(stream: Http2Stream, request: Http2Request, endOfStream: boolean): void {
    const record = new StreamRecord(stream, request)
    this.streams.push(record)
    stream.handler = record
    this.serve(record, endOfStream)
  }
  onRequestRefused(stream: Http2Stream, problem: RequestProblem): void {
    this.refused.push(problem)
    stream.sendHead([':status', problem === 'HTTP2_HEAD_BYTES' ? '431' : '400'], true)
  }
  onSettings(): void {
    this.settingsCount++
  }
  onGoaway(lastStreamId: number, code: number): void {
    this.goaways.push({ lastStreamId, code })
  }
  onPong(): void {
    this.pongs++
  }
  onDrained(): void {
    this.drained = true
  }
  onStreamClosed(stream: Http2Stream): void {
    if (this.closedIds.includes(stream.id)) throw new Error('Closed twice')
    this.closedIds.push(stream.id)
  }
  onConnectionError(code: number, reason: string): void {
    if (this.error !== null) throw new Error('Two connection errors')
    this.error = { code, reason }
  }
  onBroken(stream: Http2Stream | null, error: ProxyError): void {
    this.broken.push({ id: stream?.id ?? null, error })
    if (stream !== null) this.answerBroken(stream)
  }

  /** Client: opens a stream. */
  open(fields: readonly string[], endOfStream: boolean): StreamRecord {
    const record = new StreamRecord(null as unknown as Http2Stream, null)
    const stream = this.connection.open(fields, endOfStream, record)
    if (stream === null) throw new Error('No stream')
    ;(record as { stream: Http2Stream }).stream = stream
    stream.resume()
    this.streams.push(record)
    return record
  }

  /** What was written since. */
  take(): Buffer {
    this.waiting = false
    if (this.answers === null) this.connection.flush()
    else this.connection.resumeOutput()
    const output = Buffer.concat(this.output)
    this.output = []
    return output
  }
  frames(): Frame[] {
    return framesOf(this.take())
  }
  receive(...parts: Buffer[]): this {
    const bytes = Buffer.concat(parts)
    let all = this.connection.receive(bytes, 0, bytes.length)
    while (!all) all = this.connection.resumeInput()
    return this
  }
}

/** A server that has shaken hands with its client. */
export function startServer(options?: Http2Options): End {
  const server = new End('server', options)
  server.receive(PREFACE, frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0))
  server.take()
  return server
}

/** The code that ended a connection, -1 for none. */
export function goawayOf(frames: readonly Frame[]): number {
  return frames.findLast(({ type }) => type === GOAWAY)?.payload.readUInt32BE(4) ?? -1
}

/** The code that reset stream `id`, -1 for none. */
export function resetOf(frames: readonly Frame[], id: number): number {
  return frames.find((each) => each.type === RST_STREAM && each.stream === id)?.payload.readUInt32BE(0) ?? -1
}
