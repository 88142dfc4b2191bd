import { createConnection, type Socket } from 'node:net'

/** How long fair clients waited, in milliseconds. */
export interface Waits {
  readonly count: number
  readonly p50: number
  readonly p99: number
}

const REQUEST = 'GET /fair HTTP/1.1\r\nHost: a\r\n\r\n'
const AT_ONCE = 2
/** Some connections are new, and some are used again. */
const REQUESTS_PER_CONNECTION = 4
const PAUSE_MS = 2
/** A request that takes longer than this is not served at all. */
const LOST_MS = 10_000

/**
 * Sends requests as fair clients would, two at once with a pause behind each, and measures how long each waits for its
 * answer; of a new connection from the connect on.
 *
 * @param least - So many requests, and so many milliseconds, at least.
 * @throws {Error} If an answer is wrong, late by ten seconds, or missing.
 */
export async function fairWaits(port: number, least: { count: number; ms: number }): Promise<Waits> {
  const waits: number[] = []
  const since = performance.now()
  const lane = async () => {
    while (waits.length < least.count || performance.now() - since < least.ms) await visit(port, waits)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  waits.sort((one, other) => one - other)
  const at = (part: number) => waits[Math.ceil(part * waits.length) - 1] as number
  return { count: waits.length, p50: at(0.5), p99: at(0.99) }
}

/** One connection and its requests. */
async function visit(port: number, waits: number[]): Promise<void> {
  let started = performance.now()
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  try {
    for (let i = 0; i < REQUESTS_PER_CONNECTION; i++) {
      await answered(socket)
      waits.push(performance.now() - started)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      started = performance.now()
    }
  } finally {
    socket.destroy()
  }
}

function answered(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = ''
    const failed = (why: unknown) => reject(new Error(`A fair client is not served: ${why}`))
    const lost = setTimeout(() => failed(`nothing for ${LOST_MS} ms`), LOST_MS)
    const done = () => {
      clearTimeout(lost)
      socket.removeAllListeners()
      socket.on('error', () => undefined)
    }
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (!text.endsWith('fair')) return
      done()
      if (text.startsWith('HTTP/1.1 200 ')) resolve()
      else failed(text.slice(0, 100))
    })
    socket.on('error', (error) => {
      done()
      failed(error)
    })
    socket.on('close', () => {
      done()
      failed(`cut after ${JSON.stringify(text.slice(0, 100))}`)
    })
    socket.write(REQUEST)
  })
}
