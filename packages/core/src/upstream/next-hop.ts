import type { Socket } from 'node:net'
import { NEED_MORE, ResponseHeadParser } from '@cirque/http'

/** Longest answer of a next-hop proxy to CONNECT, in bytes. */
const PROXY_HEAD_BYTES_MAX = 16_384

/**
 * Told once what a next-hop proxy has answered, unless the connection to it ends first: that there is a tunnel, with
 * what came right behind the answer, which is mostly nothing; or what it gave instead. The socket is paused then.
 */
export type TunnelAnswer = (refusal: string | undefined, early: Buffer) => void

/** Asks a next-hop proxy, on a connection that stands, for a tunnel to `target`. */
export function requestTunnel(
  socket: Socket,
  target: string,
  headers: Readonly<Record<string, string>>,
  answered: TunnelAnswer,
): void {
  let text = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n`
  for (const [name, value] of Object.entries(headers)) text += `${name}: ${value}\r\n`
  socket.write(`${text}\r\n`, 'latin1')
  readAnswer(socket, answered)
}

function readAnswer(socket: Socket, answered: TunnelAnswer): void {
  const parser = new ResponseHeadParser({ headBytesMax: PROXY_HEAD_BYTES_MAX })
  const onData = (chunk: Buffer) => {
    let at = 0
    let after = parser.execute(chunk, at, chunk.length)
    // Informational answers may come first (RFC 9110 §15.2).
    while (after >= 0 && (parser.header?.status ?? 200) < 200) {
      parser.takeHeader()
      at = after
      after = at < chunk.length ? parser.execute(chunk, at, chunk.length) : NEED_MORE
    }
    if (after === NEED_MORE) return
    socket.off('data', onData)
    socket.pause()
    answered(refusalIn(parser, after >= 0), after < 0 ? chunk.subarray(0, 0) : chunk.subarray(after))
  }
  socket.on('data', onData)
}

function refusalIn(parser: ResponseHeadParser, isWhole: boolean): string | undefined {
  if (!isWhole) return 'a malformed answer'
  if (parser.chunked) return 'a body in its answer'
  const status = parser.header?.status ?? 0
  return status >= 200 && status <= 299 ? undefined : `status ${status}`
}
