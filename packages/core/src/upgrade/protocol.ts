import { createConnection, type Socket } from 'node:net'
import { inspect } from 'node:util'

/**
 * The upgrade protocol. Over one connection to `upgrade_sock` the launcher says hello and the old server answers
 * `go` or `no`, each as one JSON line. From then on the connection is Node's own IPC channel between a helper of
 * the old server and the new server. A side writes only when the other has asked, so that no byte and no file
 * descriptor can arrive at a process that does not read them.
 */
export const UPGRADE_PROTOCOL_VERSION: number = 1

/** Longest first line that the old server reads from whoever connects, in bytes. */
export const HELLO_BYTES_MAX: number = 4096
/** Longest answer that a launcher reads, in bytes: it names every listener. */
export const ANSWER_BYTES_MAX: number = 16_777_216
/** The longest delay of a timer of Node.js; a longer one would be over at once. */
export const TIMER_MS_MAX: number = 2_147_483_647
/** How long a peer may take for a line it owes, in ms. */
export const LINE_TIMEOUT_MS: number = 3000
/** How long the old server and the launcher wait for each other, in ms: SIGQUIT and `--upgrade` in either order. */
export const RENDEZVOUS_TIMEOUT_MS: number = 30_000
/** How long the new server waits for the old one's word that it has let go, in ms. */
export const COMMIT_TIMEOUT_MS: number = 10_000

/** From launcher to old server. `ping` is answered at any time. */
export type UpgradeRequest =
  | { readonly t: 'hello'; readonly v: number; readonly pid: number; readonly node: string }
  | { readonly t: 'ping' }

/** From old server to launcher. */
export type UpgradeAnswer =
  | { readonly t: 'pong'; readonly pid: number; readonly draining: boolean; readonly signal: boolean }
  | {
      readonly t: 'no'
      readonly err: 'version' | 'busy' | 'helper' | 'listeners' | 'protocol'
      readonly v?: number
    }
  | { readonly t: 'go'; readonly v: number; readonly pid: number; readonly keys: readonly string[] }

/** From helper to new server. `fd` carries a `net.Server`; a foreign one has a socket file that nobody may remove. */
export type HelperMessage =
  | { readonly t: 'state'; readonly state: UpgradeState }
  | { readonly t: 'fd'; readonly i: number; readonly key: string; readonly foreign: boolean }
  | { readonly t: 'end'; readonly n: number }
  | { readonly t: 'commit' }

/** From new server to helper. `backlogs` are the ones that the new server wants, in the order of the listeners. */
export type SuccessorMessage =
  | { readonly t: 'want' }
  | { readonly t: 'got'; readonly i: number }
  | { readonly t: 'ready'; readonly backlogs: readonly number[] }
  | { readonly t: 'fail'; readonly err: string }

/** What the old server passes on beside its listeners. */
export interface UpgradeState {
  /** Of the old server: 1 for the first. */
  readonly generation: number
  /** What each service exported, by its name. */
  readonly services: Readonly<Record<string, unknown>>
}

/** One line of JSON. */
export function line(message: UpgradeRequest | UpgradeAnswer): string {
  return `${JSON.stringify(message)}\n`
}

/**
 * Reads exactly one line of JSON and stops reading, so that what follows stays in the kernel for another process.
 *
 * @throws {Error} If the peer goes away, is late, sends more than `bytesMax`, bytes after the line, or no object.
 */
export function readLine(socket: Socket, bytesMax: number, timeoutMs: number): Promise<{ t?: unknown }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ t?: unknown }>()
  const chunks: Buffer[] = []
  let bytes = 0
  const settle = (error: Error | undefined) => {
    clearTimeout(timer)
    socket.pause()
    socket.off('data', onData).off('close', onClose).off('end', onClose).off('error', settle)
    if (error !== undefined) reject(error)
  }
  const onData = (chunk: Buffer) => {
    const end = chunk.indexOf(10)
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > bytesMax) settle(new Error(`A line of the upgrade protocol is longer than ${bytesMax} bytes`))
    else if (end === chunk.length - 1) {
      settle(undefined)
      try {
        resolve(parseMessage(Buffer.concat(chunks).toString()))
      } catch (error) {
        reject(error)
      }
    } else if (end !== -1) settle(new Error('Bytes came after a line of the upgrade protocol'))
  }
  const onClose = () => settle(new Error('The other side of the upgrade went away'))
  const timer = setTimeout(
    () => settle(new Error(`No answer to the upgrade within ${timeoutMs} ms`)),
    timeoutMs,
  )
  socket.on('data', onData).on('close', onClose).on('end', onClose).on('error', settle)
  socket.resume()
  return promise
}

function parseMessage(text: string): { t?: unknown } {
  const message: unknown = JSON.parse(text)
  if (typeof message === 'object' && message !== null) return message
  throw new Error(`Expected a message of the upgrade protocol, received ${inspect(text.slice(0, 100))}`)
}

/** Connects to `upgrade_sock`. Rejects with ENOENT or ECONNREFUSED if nobody is there. */
export function connectUpgrade(path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = createConnection({ path })
  socket.once('error', reject)
  socket.once('connect', () => {
    socket.removeListener('error', reject)
    socket.on('error', () => undefined) // what happens later is seen as 'close'
    resolve(socket)
  })
  return promise
}

/** Who answers at an `upgrade_sock`: `undefined` if nobody does, `'silent'` if somebody listens and says nothing. */
export async function pingUpgrade(
  path: string,
): Promise<Extract<UpgradeAnswer, { t: 'pong' }> | 'silent' | undefined> {
  let socket: Socket
  try {
    socket = await connectUpgrade(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTSOCK') return undefined
    if (code === 'EAGAIN') return 'silent' // its queue is full
    throw error
  }
  try {
    socket.write(line({ t: 'ping' }))
    const answer = (await readLine(socket, HELLO_BYTES_MAX, LINE_TIMEOUT_MS)) as UpgradeAnswer
    return answer.t === 'pong' ? answer : 'silent'
  } catch {
    return 'silent'
  } finally {
    socket.destroy()
  }
}
